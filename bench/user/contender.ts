/** A contender of the user's benchmark: a proxy as somebody would set it up, with as many workers as the others. */
import type { CertificateFiles } from "../certificate.ts";
import type { Plan, Program } from "../contenders/contender.ts";

/** Where it stands, and what it may use. */
export interface UserPlace {
  /** a temp folder of its own, removed afterwards */
  readonly folder: string;
  /** it listens on 127.0.0.1: HTTP/1.1 in clear here … */
  readonly plainPort: number;
  /** … and TLS here, HTTP/2 and HTTP/1.1 */
  readonly tlsPort: number;
  /** free, for a contender that always has one port more */
  readonly adminPort: number;
  /** the three servers, on 127.0.0.1 */
  readonly serverPorts: readonly number[];
  /** its folder is called `certificates`, which the original looks for */
  readonly certificate: CertificateFiles;
  /** worker processes or threads */
  readonly workers: number;
  /** Aralez as `npm run build` makes it */
  readonly binary: string;
}

export interface UserPlan extends Plan {
  /** so many processes must run, itself included: it may have more than was asked for, but not fewer */
  readonly processes?: number;
}

export interface UserContender {
  readonly doc: string;
  readonly program?: Program;
  plan(place: UserPlace): UserPlan;
}
