#!/usr/bin/env bun
/** The program: hands its arguments to the verbs and ends with their exit code. */
import { cli } from "./cli.ts";

process.exit(await cli(process.argv.slice(2), process.env));
