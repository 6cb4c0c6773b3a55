/** Media types of files, by the extension of their name. */

const text = "; charset=utf-8";

/** IANA's registry, and for text what browsers need to read it right: files of our time are UTF-8. */
const types: Record<string, string> = {
  html: `text/html${text}`,
  htm: `text/html${text}`,
  css: `text/css${text}`,
  js: `text/javascript${text}`,
  mjs: `text/javascript${text}`,
  cjs: `text/javascript${text}`,
  txt: `text/plain${text}`,
  log: `text/plain${text}`,
  md: `text/markdown${text}`,
  csv: `text/csv${text}`,
  tsv: `text/tab-separated-values${text}`,
  ics: `text/calendar${text}`,
  vcf: `text/vcard${text}`,
  vtt: `text/vtt${text}`,
  xml: `text/xml${text}`,
  yaml: `application/yaml${text}`,
  yml: `application/yaml${text}`,
  xhtml: `application/xhtml+xml${text}`,
  rss: `application/rss+xml${text}`,
  atom: `application/atom+xml${text}`,
  svg: `image/svg+xml${text}`,
  json: "application/json",
  map: "application/json",
  jsonld: "application/ld+json",
  geojson: "application/geo+json",
  webmanifest: "application/manifest+json",
  wasm: "application/wasm",
  pdf: "application/pdf",
  rtf: "application/rtf",
  epub: "application/epub+zip",
  doc: "application/msword",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  xls: "application/vnd.ms-excel",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  ppt: "application/vnd.ms-powerpoint",
  pptx: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  odt: "application/vnd.oasis.opendocument.text",
  ods: "application/vnd.oasis.opendocument.spreadsheet",
  zip: "application/zip",
  gz: "application/gzip",
  tgz: "application/gzip",
  zst: "application/zstd",
  bz2: "application/x-bzip2",
  xz: "application/x-xz",
  "7z": "application/x-7z-compressed",
  tar: "application/x-tar",
  jar: "application/java-archive",
  apk: "application/vnd.android.package-archive",
  png: "image/png",
  apng: "image/apng",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  avif: "image/avif",
  heic: "image/heic",
  jxl: "image/jxl",
  bmp: "image/bmp",
  ico: "image/vnd.microsoft.icon",
  tif: "image/tiff",
  tiff: "image/tiff",
  mp3: "audio/mpeg",
  m4a: "audio/mp4",
  aac: "audio/aac",
  ogg: "audio/ogg",
  oga: "audio/ogg",
  opus: "audio/ogg",
  wav: "audio/wav",
  flac: "audio/flac",
  mp4: "video/mp4",
  m4v: "video/mp4",
  webm: "video/webm",
  ogv: "video/ogg",
  mov: "video/quicktime",
  mkv: "video/matroska",
  m3u8: "application/vnd.apple.mpegurl",
  ts: "video/mp2t",
  woff: "font/woff",
  woff2: "font/woff2",
  ttf: "font/ttf",
  otf: "font/otf",
};

const byExtension: ReadonlyMap<string, string> = new Map(Object.entries(types));

/** Extensions whose files are compressed inside: a `.gz` beside them would be a file of its own. */
const packed: ReadonlySet<string> = new Set(
  "png apng jpg jpeg gif webp avif heic jxl mp3 m4a aac ogg oga opus flac mp4 m4v webm ogv mov mkv ts woff woff2 zip gz tgz zst bz2 xz 7z jar apk br epub docx xlsx pptx odt ods".split(
    " ",
  ),
);

/**
 * The Content-Type of a file.
 * @param name a file name or path; letter case of the extension does not count
 */
export function mediaType(name: string): string {
  return byExtension.get(extension(name)) ?? "application/octet-stream";
}

/** False for formats that are compressed already, which nobody compresses once more. */
export function compressible(name: string): boolean {
  return !packed.has(extension(name));
}

function extension(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot <= name.lastIndexOf("/") ? "" : name.slice(dot + 1).toLowerCase();
}
