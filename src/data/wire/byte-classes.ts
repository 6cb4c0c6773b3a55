/** Bytes of HTTP/1.1 by name and by class: one look into the table per byte is all that strictness costs. */

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const TAB = 9;
export const COLON = 58;
export const COMMA = 44;

/** RFC 9110 5.6.2 tchar */
export const TOKEN = 1;
/** field-content and the reason phrase: visible, SP, HTAB, obs-text (RFC 9110 5.5) */
export const VALUE = 2;
/** a request target, not looked at closer: everything but controls and blanks */
export const TARGET = 4;
/** methods: what every registered one is made of */
export const METHOD = 8;
/** a host name or IPv4 address, without percent-encoding */
export const HOST = 16;
/** an IPv6 address between its brackets */
export const ADDRESS = 64;
/** `_`, which CGI-like servers cannot tell from `-` */
export const UNDERSCORE = 32;

export const classes: Uint8Array = makeClasses();

function makeClasses(): Uint8Array {
  const table = new Uint8Array(256);
  const add = (bit: number, characters: RegExp) => {
    for (let byte = 0; byte < 256; byte++) if (characters.test(String.fromCharCode(byte))) table[byte]! |= bit;
  };
  add(TOKEN, /[!#$%&'*+\-.^_`|~0-9A-Za-z]/);
  add(VALUE, /[\t\x20-\x7e\x80-\xff]/);
  add(TARGET, /[\x21-\x7e\x80-\xff]/);
  add(METHOD, /[A-Z_-]/);
  add(HOST, /[0-9A-Za-z._~-]/);
  add(ADDRESS, /[0-9A-Fa-f:.]/);
  add(UNDERSCORE, /_/);
  return table;
}
