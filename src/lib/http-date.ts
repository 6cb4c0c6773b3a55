/** Dates as HTTP writes them (RFC 9110 5.6.7). */

/** @returns IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT` */
export function writeHttpDate(timeMs: number): string {
  return new Date(timeMs).toUTCString();
}

let nowText = "";
let nowSecond = 0;

/** The present time; the text is made once a second. */
export function httpDateNow(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== nowSecond) {
    nowSecond = second;
    nowText = writeHttpDate(second * 1000);
  }
  return nowText;
}

/**
 * Reads the three forms a recipient must know; anything else is to be ignored by the rules of conditional fields,
 * which is why `Date.parse`, which reads nearly everything, will not do.
 * @returns milliseconds, or undefined
 */
export function readHttpDate(text: string): number | undefined {
  let parts = imfFixdate.exec(text);
  if (parts) return timeOf(Number(parts[3]), parts[2]!, Number(parts[1]), parts[4]!, parts[5]!, parts[6]!);
  parts = rfc850.exec(text);
  if (parts) return timeOf(nearYear(Number(parts[3])), parts[2]!, Number(parts[1]), parts[4]!, parts[5]!, parts[6]!);
  parts = asctime.exec(text);
  if (parts) return timeOf(Number(parts[6]), parts[1]!, Number(parts[2]), parts[3]!, parts[4]!, parts[5]!);
  return undefined;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const month = `(${months.join("|")})`;
const clock = "(\\d{2}):(\\d{2}):(\\d{2})";
const imfFixdate = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\\d{2}) ${month} (\\d{4}) ${clock} GMT$`);
const rfc850 = new RegExp(`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\\d{2})-${month}-(\\d{2}) ${clock} GMT$`);
const asctime = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} ([ \\d]\\d) ${clock} (\\d{4})$`);

function timeOf(
  year: number,
  name: string,
  day: number,
  hour: string,
  minute: string,
  second: string,
): number | undefined {
  const [h, m, s] = [Number(hour), Number(minute), Number(second)];
  if (h > 23 || m > 59 || s > 60) return undefined;
  const index = months.indexOf(name);
  const midnight = Date.UTC(year, index, day);
  // 31 February is no date.
  if (new Date(midnight).getUTCMonth() !== index) return undefined;
  return midnight + (h * 3600 + m * 60 + s) * 1000;
}

/** A two-digit year that seems more than 50 years ahead is in the past (RFC 9110 5.6.7). */
function nearYear(digits: number): number {
  const now = new Date().getUTCFullYear();
  const year = now - (now % 100) + digits;
  return year > now + 50 ? year - 100 : year;
}
