/** The static table of HPACK (RFC 7541 appendix A). */

/** [name, value], from index 1 on. */
export const staticFields: readonly (readonly [name: string, value: string])[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

/** The first index of the dynamic table (RFC 7541 2.3.3). */
export const firstDynamic = 62;

/** Every entry as a line `name: value\r\n`, one behind the other. */
export const staticBytes: Buffer = Buffer.from(
  staticFields.map(([name, value]) => `${name}: ${value}\r\n`).join(""),
  "latin1",
);

/** Where the line of an index begins in {@link staticBytes}. */
export const staticStarts = new Int32Array(firstDynamic);
export const staticNameLengths = new Uint8Array(firstDynamic);
export const staticValueLengths = new Uint8Array(firstDynamic);

let at = 0;
staticFields.forEach(([name, value], i) => {
  staticStarts[i + 1] = at;
  staticNameLengths[i + 1] = name.length;
  staticValueLengths[i + 1] = value.length;
  at += name.length + value.length + 4;
});
