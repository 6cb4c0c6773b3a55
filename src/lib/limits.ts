/** Every bound of the proxy in one place, each with its reason. Sizes in bytes, times in milliseconds. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Largest request or answer body that is collected so that its Content-Length survives Bun.serve (bun-facts 1). */
export const collectedBodyBytesMax = 64 * KIB;
/** How long a small answer body may take to be collected before it is streamed instead. */
export const collectedBodyWaitMs = 20;
/** Upgrade requests and answers: fields beyond this are refused, as nginx's large buffers would. */
export const upgradeHeadBytesMax = 64 * KIB;
/** One WebSocket message, either way. 64 MiB must pass; a little room for framing. */
export const webSocketMessageBytesMax = 64 * MIB + 64 * KIB;
/** Bytes queued towards one side of a WebSocket before the connection is closed with 1013: one message and its successor. */
export const webSocketQueueBytesMax = 2 * webSocketMessageBytesMax;
/** Bytes queued towards a WebSocket client before its upstream is paused. */
export const webSocketHighWaterBytes = 256 * KIB;
/** A refused upgrade's body is passed on up to this size. */
export const webSocketRefusalBytesMax = 64 * KIB;
/** Log lines waiting for the disk or terminal; more are dropped and counted (the original's figure). */
export const logQueueLinesMax = 16_384;
/** One log line; a client may otherwise write megabytes by one target. */
export const logLineCharsMax = 8 * KIB;
/** YAML files larger than this are refused: 5,000 hosts take about 1 MiB. */
export const configBytesMax = 8 * MIB;
/** Aliases (`*name`) one YAML file may expand: stops the billion-laughs document. */
export const yamlAliasesMax = 1_000;
/** Problems shown for one load; the rest is counted. */
export const problemsShownMax = 100;
/** Health checks in flight at once: 1,000 members must not open 1,000 sockets in one tick. */
export const probesInFlightMax = 64;
/** Body bytes read from a health check's answer before its connection is closed. */
export const probeBodyBytesMax = 64 * KIB;
/** First request to an endpoint whose protocol is not known yet waits at most this long. */
export const detectWaitMs = 3_000;
/** Names are looked up anew after this time (contract, section 14). */
export const nameCacheMs = 30_000;
/** Names kept in the look-up cache. */
export const nameCacheEntriesMax = 4_096;
/** An endpoint not heard from for this long is tried by a bare connect first: fetch cannot time its own connect. */
export const knockAfterMs = 10_000;
/** Retries a second that are always allowed, whatever the budget says (contract, section 14). */
export const retriesPerSecondFree = 10;
/** Ids kept inside one sticky cookie: routes of one host share the cookie name. */
export const stickyIdsMax = 8;
/** A client-sent X-Request-Id longer than this is replaced. */
export const requestIdCharsMax = 128;
/** Trailing-edge quiet time before a changed file is read. */
export const watchQuietMs = 60;
/** A file that changes without end is read at the latest after this time. */
export const watchQuietMaxMs = 500;
/** Slow poll of watched files, for file systems without events. */
export const watchPollMs = 2_000;
/** A file that reads empty is read again so often, so far apart (the original's figures): editors truncate, then write. */
export const emptyReadRetries = 5;
export const emptyReadRetryMs = 10;
/** Addresses of X-Forwarded-For looked at from the right. */
export const forwardedHopsMax = 64;
/** Static files: a byte range list longer than this is ignored (we answer the whole file). */
export const rangeHeaderCharsMax = 128;
/** Members whose state is printed in the summary after a (re)load. */
export const summaryMembersMax = 50;
