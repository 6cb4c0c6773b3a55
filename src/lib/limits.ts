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
/** A refused upgrade's body is passed on up to this size. */
export const webSocketRefusalBytesMax = 64 * KIB;
/** Log lines waiting for the disk or terminal; more are dropped and counted (the original's figure). */
export const logQueueLinesMax = 16_384;
/** One log line; a client may otherwise write megabytes by one target. */
export const logLineCharsMax = 8 * KIB;
/** The same lines together: many long ones must not fill the memory before their count is reached. */
export const logQueueCharsMax = 8 * MIB;
/** Log lines are written together: after this time, or as soon as so many characters wait. */
export const logFlushMs = 50;
export const logFlushChars = 64 * KIB;
/** A log file that could not be written is tried again after this time. */
export const logRetryMs = 1_000;
/** A log file's path is looked at this often: logrotate may have moved the file away. */
export const logLookMs = 1_000;
/** At exit the log may wait so long for a slow pipe. */
export const logExitWaitMs = 250;
/** A secret, key or CA file that a value names: the authorities of a whole system take a quarter of it. */
export const namedFileBytesMax = MIB;
/** YAML files larger than this are refused: 5,000 hosts take about 1 MiB. */
export const configBytesMax = 8 * MIB;
/** Aliases (`*name`) one YAML file may expand, nested ones counted each time: stops the billion-laughs document. */
export const yamlAliasesMax = 20_000;
/** Nodes of one YAML file with its aliases written out; 8 MiB of ordinary configuration have fewer. */
export const yamlNodesMax = 1_000_000;
/** Nesting of one YAML file: our deepest key lies at 8. */
export const yamlDepthMax = 64;
/** Brackets left open in one YAML file: its parser takes seconds for a million of them. */
export const yamlOpenBracketsMax = 10_000;
/** Files read from conf.d for one load. */
export const confdFilesMax = 5_000;
/** Characters of a source line quoted under a problem. */
export const excerptCharsMax = 140;
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
/** … and how often folders are looked at: whether one came, went or was replaced as a whole. */
export const watchFolderPollMs = 500;
/** A file that reads empty is read again so often, so far apart (the original's figures): editors truncate, then write. */
export const emptyReadRetries = 5;
export const emptyReadRetryMs = 10;
/** Addresses of X-Forwarded-For looked at from the right. */
export const forwardedHopsMax = 64;
/** Static files: a byte range list longer than this is ignored (we answer the whole file). */
export const rangeHeaderCharsMax = 128;
/** Static files: contents up to this are read at once; above it sendfile is cheaper, and so is memory (measured: even at 256 KiB). */
export const fileBytesHeldMax = 64 * KIB;
/** Static files: a root that is a symlink is looked up anew after this time. */
export const folderLookMs = 1_000;
/** Members whose state is printed in the summary after a (re)load. */
export const summaryMembersMax = 50;
/** Detection asks the next question (HTTP/1.1, then h2c) after this time although the one before is still undecided. */
export const detectStaggerMs = 300;
/** After the head of a health check's answer its body is read for so long, so that the server sees a clean end. */
export const probeDrainMs = 250;
/** A health check that took this long last time queues behind the quick ones. */
export const probeSlowMs = 500;
/** Slow health checks in flight at once; the rest of `probesInFlightMax` is kept for servers that answer. */
export const probesSlowInFlightMax = 48;
/** A name that cannot be looked up any more keeps its last good addresses for this long. */
export const nameStaleMs = 600_000;
/** A failed look-up is asked again after this time. */
export const nameFailureCacheMs = 1_000;
/** A look-up that takes longer than this is finished in the background while the last good addresses are used. */
export const nameStaleWaitMs = 500;
/** Characters of a foreign error message shown as a cause. */
export const causeCharsMax = 160;
/** Different `ca_file`s kept in memory for health checks. */
export const caFilesMax = 256;
/** Rule files up to this size together are parsed on the loop: a few milliseconds; larger ones in a thread. */
export const parseInlineBytesMax = 32 * KIB;
/** The summary after a (re)load waits at most this long for the first health verdicts. */
export const summaryWaitMs = 3_000;
/** A WebSocket that is ending without progress is cut after this time: the far end may never answer our close frame. */
export const webSocketCloseWaitMs = 5_000;
/** Longer WebSocket messages are masked and written in slices of this size, so that no second copy of them exists. */
export const webSocketSliceBytes = 64 * KIB;
/** A refused upgrade's body may take this long; what has come by then is passed on as cut short. */
export const webSocketRefusalWaitMs = 5_000;
/** Distinct faults of the proxy itself that are reported; a message that holds a request's data could be new each time. */
export const distinctFaultsMax = 200;
/** One write of the byte engines: a head and the first bytes of its body. */
export const outputBufferBytes = 64 * KIB;
/** A chunk up to this is copied beside what is composed: cheaper than a write of its own (bun-facts 7: 3 to 4 µs). */
export const copiedChunkBytesMax = 32 * KIB;
/** Smaller chunks are left to the garbage collector: giving their memory back costs more than it saves. */
export const releasedBytesMin = 4 * KIB;
/** Parsed heads kept for the next requests; a burst makes its own. */
export const spareHeadsMax = 256;
/** An upstream that does not answer `Expect: 100-continue` gets the body after this, as from curl. */
export const continueWaitMs = 1_000;
/** While health checks are under way it is looked so often whether our own loop stands still. */
export const loopLagEveryMs = 20;
/** A check that timed out while we stood still for this share of its time tells about us … */
export const stalledShare = 0.25;
/** … so it does not count, so many times in a row, … */
export const excusedChecksMax = 3;
/** … and is repeated this soon. */
export const excusedAgainMs = 50;
/** How often connections are looked over for timeouts. */
export const sweepMs = 200;
/** Idle upstream connections above `upstream_keepalive_pool_size` are closed at this age, never at once. */
export const surplusIdleMs = 4_000;
/** Answers of status 1xx before the final one. */
export const interimAnswersMax = 16;
/** Head of an upstream's answer. */
export const answerHeadBytesMax = 256 * KIB;
/** Field lines of a request or an answer. */
export const fieldLinesMax = 1_000;
/** Bytes of the next requests that may wait on a connection while one is answered. */
export const pipelinedBytesMax = 64 * KIB;
/** After an early answer so many bytes of the request are read and dropped, so that the client sees the answer. */
export const lingerBytesMax = MIB;
/** … and for so long. */
export const lingerMs = 2_000;
/** Chunk extensions of one body, dropped unread: some clients sign each chunk in one, nobody sends more. */
export const chunkExtensionBytesMax = 4 * KIB;
/** Trailer section of one body; a gRPC status message may take half of it. */
export const trailerBytesMax = 16 * KIB;
export const trailerLinesMax = 100;
/**
 * A client that has closed its sending side waits so long for more of its answer, then it counts as gone: to us it looks
 * like one that left, and an upstream must not work for nobody.
 */
export const halfClosedMs = 5_000;
/** After the drain's deadline has cut what was open, so long for its last log lines. */
export const cutExchangesWaitMs = 1_000;
/** Bytes queued in all WebSockets together above which one that has more than its small share queued is closed (1013). */
export const webSocketQueuesBytesMax = 256 * MIB;
/** … that share. */
export const webSocketQueueShareBytes = MIB;
/** Host fields whose reading is remembered. */
export const hostsKnownMax = 1_024;
/**
 * What counting clients may add to the memory, whatever the number of addresses. A quarter is the table of windows: half a
 * million in one second are more than all workers of a machine can answer. The rest is room for the engine's garbage.
 */
export const limiterBytesMax = 64 * MIB;
/** Clients are counted by windows of this length (contract, section 14). */
export const limitWindowMs = 1_000;
/** After a reload the collector is called so much later, for all reloads in between together. */
export const tidyAfterReloadMs = 2_000;
/** TLS contexts kept by one listener; a fresh one took 3 to 6 KiB and 0.05 to 0.2 ms, but it gathers sessions in use. */
export const tlsContextsMax = 1_024;
/**
 * Handshakes that have not told a name yet, and so cannot be paced; above it the oldest is closed. Twice the accept queue,
 * so that a burst of good clients stays below.
 */
export const handshakesUnnamedMax = 2_048;
/** TLS sessions kept to resume connections to upstreams. */
export const upstreamSessionsMax = 1_024;
/** The listener of Bun.serve that goes still accepts what the kernel has queued for it; then it drains. */
export const tlsSwapOverlapMs = 200;
/** Certificates on Bun.serve change at most this often: each change costs the clients their kept connections. */
export const tlsSwapEveryMs = 500;
/** A change that failed, for want of files perhaps, is tried again after this. */
export const tlsSwapRetryMs = 5_000;
/** Listeners of Bun.serve that drain at the same time; above it the oldest is cut. */
export const tlsListenersOldMax = 8;
/** A certificate or key file above this is refused: a chain of ten RSA-4096 certificates has 20 KiB. */
export const certificateFileBytesMax = 256 * KIB;
/** Certificates of one chain; clients refuse chains longer than about ten. */
export const chainCertificatesMax = 16;
/** RSA keys: browsers refuse shorter ones, longer ones take so long to sign with that a few clients stop a core. */
export const rsaKeyBitsMin = 2_048;
export const rsaKeyBitsMax = 8_192;
/** Pairs read from all certificate folders together. */
export const certificatePairsMax = 5_000;
/**
 * A pair that cannot be used is reported once its files have been at rest so long: whoever replaces certificate and key
 * one after the other needs a moment.
 */
export const certificateGraceMs = 1_500;
/** A pair whose files are gone is served for so long: some tools remove, then write. With the watch's own wait below 1 s. */
export const certificateGoneMs = 300;
/** A chain that became shorter is served once its file has been at rest so long: the rest of it may still be written. */
export const certificateSettleMs = 500;
/** How often certificates are compared with the clock: some begin, some end, some need a warning. */
export const certificateClockMs = 60_000;
/** Reading changed certificates gives way to requests after this time. */
export const certificateSliceMs = 8;
/** Certificates named in one line of the log; the rest is counted. */
export const certificatesToldMax = 20;
/** Names of one certificate in a line of the log; the rest is counted. */
export const certificateNamesToldMax = 4;
/** Tokens of replicas looked for in the state folder at the same time; further requests are taken for ordinary ones. */
export const acmeTokenReadsMax = 64;
/** … each for so long: a network folder may hang. */
export const acmeTokenReadWaitMs = 2_000;
/** A file with a token's answer: token, a dot and a digest of 43 characters. */
export const acmeKeyAuthorizationBytesMax = 256;
/** An answer of an ACME server; certificate chains are the largest. */
export const acmeAnswerBytesMax = 256 * KIB;
/** One request to an ACME server; Let's Encrypt takes seconds on a bad day. */
export const acmeRequestWaitMs = 30_000;
/** Tries of one request that the server refuses because of its nonce (RFC 8555 6.5). */
export const acmeNonceTriesMax = 10;
/** Nonces kept for the next requests. */
export const acmeNoncesMax = 16;
/** An order waits so long for its validation and its certificate, all polls together. */
export const acmeOrderWaitMs = 180_000;
/** Polls come at this distance, growing to the second, where the server says nothing; never closer than the first. */
export const acmePollMs = 500;
export const acmePollMsMax = 15_000;
/** A token is in place for so long before the server hears of it: a replica may be asked for it. */
export const acmeTokenSettleMs = 50;
/** While a name is proved in the TLS handshake, new connections show their ClientHello first: so many at once … */
export const acmeHellosMax = 256;
/** … looked at this often … */
export const acmeHelloLookMs = 5;
/** … and after this time taken for ordinary ones. */
export const acmeHelloWaitMs = 2_000;
/** Orders under way at once. */
export const acmeOrdersMax = 4;
/** Names that get certificates by ACME. */
export const acmeNamesMax = 10_000;
/** A failed order is tried again after these times, the last one for ever; Let's Encrypt allows five failures an hour and name. */
export const acmeBackOffMs = [60_000, 300_000, 900_000, 3_600_000, 14_400_000, 43_200_000] as const;
/** Where a server limits us without saying for how long. */
export const acmeRateLimitedMs = 3_600_000;
/** After a rate limit all other orders pause for so long: the limit may be the account's. */
export const acmeRateLimitPauseMs = 300_000;
/** A directory is read again after this time: authorities change addresses and offer new things. */
export const acmeDirectoryMs = 24 * 3_600_000;
/** However late a server suggests a renewal, so long before the end (a tenth of a short term) it is begun. */
export const acmeLatestMs = 3 * 24 * 3_600_000;
/** Clocks of replicas on one state folder may differ by this; more means that one has been set back. */
export const acmeClockSlackMs = 300_000;
/** What a server says in Retry-After counts up to this. */
export const acmeRetryAfterMsMax = 7 * 24 * 3_600_000;
/** Renewals of the same day are spread over at most this time. */
export const acmeJitterMsMax = 24 * 3_600_000;
/** Renewal information is asked for at these distances (RFC 9773 4.3), where the server says none in between. */
export const acmeRenewalInfoMs = 6 * 3_600_000;
export const acmeRenewalInfoMsMin = 60_000;
export const acmeRenewalInfoMsMax = 24 * 3_600_000;
/** The names are gone through at least this often, whatever the clock or the folder did. */
export const acmeLookMs = 3_600_000;
/** After a change of names or settings so long until the first look: several may follow each other. */
export const acmeQuietMs = 100;
/** While another replica holds the lock it is asked for again after this time. */
export const acmeLockAgainMs = 15_000;
/** A lock is renewed this often … */
export const acmeLockBeatMs = 5_000;
/** … and its holder is dead when it has not been renewed for so long, by the clock of who waits. */
export const acmeLockStaleMs = 60_000;
/** Somebody who has ordered by hand waits at most so long for the lock. */
export const acmeLockWaitMs = 30_000;
/** A fresh certificate is not renewed before this, or a tenth of its term, whatever its server suggests. */
export const acmeFreshMs = 3_600_000;
/** Orders by hand that wait for the one before. */
export const acmeWishesMax = 16;
/** Files of the state folder: an account or order has below 4 KiB, a list of names below 1 MiB. */
export const acmeStateBytesMax = MIB;
/** Characters of an Authorization or API key field that are looked at: tokens of large providers have 4 KiB. */
export const credentialCharsMax = 8 * KIB;
/** Password hashes compared at once: each takes a core for 50 to 100 ms, and argon2 64 MiB. */
export const passwordChecksInFlightMax = 2;
/** Password checks waiting behind them: what that comes to is about the longest a client would wait. */
export const passwordChecksWaitingMax = 64;
/** Password checks of one client, running and waiting: nobody may fill the queue alone. */
export const passwordChecksPerClientMax = 8;
/** Verdicts on passwords kept, right and wrong ones apart; about 200 bytes each. */
export const passwordVerdictsMax = 4_096;
/** Signatures of tokens verified at once, waiting, and per client: the slowest kind (P-521) takes about 1 ms. */
export const signatureChecksInFlightMax = 32;
export const signatureChecksWaitingMax = 1_024;
export const signatureChecksPerClientMax = 64;
/** Verdicts on tokens kept for one `authorization`, until they expire; about 250 bytes each. */
export const tokenVerdictsMax = 10_000;
/** Keys tried on one token, where neither its `kid` nor its algorithm says which one it is. */
export const tokenKeysTriedMax = 8;
/** A key set (JWKS) is fetched again after this time (contract, section 14) … */
export const keySetMs = 600_000;
/** … because of a token with an unknown key, or after a failed fetch with older keys at hand, at most every … */
export const keySetAgainMs = 30_000;
/** … and without any keys at most every … */
export const keySetRetryMs = 1_000;
/** A key set must arrive within this time. */
export const keySetWaitMs = 5_000;
/** Size of a key set: large providers publish a few keys of 2 KiB. */
export const keySetBytesMax = 256 * KIB;
/** Keys used of one key set. */
export const keySetKeysMax = 64;
/** The body of a forward service's permission is read to its end up to this size, so that the connection stays. */
export const permissionBodyBytesMax = 64 * KIB;
/** Characters of a user's name that a token may put into the log. */
export const userCharsMax = 128;
/** File descriptors kept back from new clients, at most: for log files, health checks, look-ups and connections to upstreams. */
export const descriptorsReservedMax = 64;
/** How often it is looked whether a file can still be opened; so long may a full table cost CPU. */
export const descriptorLookMs = 200;
/** Connections turned away with 503 that are read on for a moment; more are closed at once. */
export const turnedAwayMax = 256;
/** What every new connection could cause is warned of once in so long. */
export const warningEveryMs = 60_000;
/** Largest Max-Forwards passed on (RFC 9110 7.6.2 lets each recipient choose its own): what any server reads as a number. */
export const maxForwardsMax = 2 ** 31 - 1;
/** A client in the midst of a request's head when the proxy drains has so long for the rest; shutting down waits no longer. */
export const drainHeadMs = 1_000;
/** A URL and field lines that `explain` is asked about: what a request of that size could hold. */
export const explainUrlCharsMax = 64 * KIB;
export const explainFieldsMax = 1_000;
/** Such a question as the JSON body of `POST /explain`. */
export const explainBodyBytesMax = 256 * KIB;
/** The verb `explain` asks the members of one route whether they are up, and waits so long for their answers. */
export const explainChecksWaitMs = 6_000;
/** Characters of a target in the `aralez explain …` that ends a log line; a longer one is cut. */
export const explainTargetCharsMax = 1_000;
/** Routes and upstream addresses with counters of their own in the metrics; all further ones share one each. */
export const metricRoutesMax = 1_000;
export const metricEndpointsMax = 1_000;
/** Values of the metrics written before the loop gets a turn: about a millisecond. */
export const metricValuesPerTurn = 500;
/** Chunks up to this size are joined with what came in the same read: a copy is cheaper than a write. */
export const joinedChunkBytesMax = 4 * KIB;
/** Pipelined requests of one connection answered before the loop looks after the others. */
export const pipelinedPerTurnMax = 32;
/** A change that a source of routes brings goes into force at most this often (contract of discovery: 10 versions a second). */
export const discoveryEveryMs = 100;
/** … and never takes more than this share of the time: compiling thousands of hosts costs more than 10 ms. */
export const discoveryShareMax = 0.2;
/** The summary of what discovery changed is told at most this often: services may flap. */
export const discoverySummaryMs = 1_000;
/** At start the first word of the sources is awaited for so long, then the listeners open with what is there. */
export const discoveryFirstWaitMs = 2_000;
/** Connecting to a source of routes, TLS included. */
export const discoveryConnectMs = 5_000;
/** A source must begin to answer a question that it need not hold back within this time. */
export const discoveryAnswerMs = 10_000;
/** … and be through with the answer within this time. */
export const discoveryBodyMs = 30_000;
/** After a failure a source is asked again between half of this … */
export const discoveryRetryFirstMs = 250;
/** … and, after many, this. */
export const discoveryRetryMostMs = 15_000;
/** A source that goes on failing is told of again after this time. */
export const discoveryToldMs = 300_000;
/** One answer of a source: 5,000 instances in Consul take about 8 MiB. */
export const discoveryAnswerBytesMax = 32 * MIB;
/** … and all that are being read at once. */
export const discoveryReadingBytesMax = 96 * MIB;
/** Characters of a source's own error text shown as a cause. */
export const discoveryErrorCharsMax = 200;
/** Idle connections kept to one source. */
export const discoveryIdleConnectionsMax = 16;
/** A dead peer of a connection that waits for news is noticed by TCP keepalive after a few times this. */
export const discoveryKeepaliveMs = 15_000;
/** Services followed in one source. */
export const discoveryServicesMax = 2_000;
/** Members of one discovered route. */
export const discoveryMembersMax = 1_000;
/** Things wrong with what a source says, kept and told; the rest is counted. */
export const discoveryRemarksMax = 100;
/** A source's name or value quoted in the log. */
export const discoveryQuotedCharsMax = 100;
/** Consul holds a question back for so many seconds, plus a sixteenth of its own choice, until there is news. */
export const consulWaitSeconds = 55;
/** Questions that Consul may hold back at once: an agent allows 200 connections from one address. */
export const consulQuestionsMax = 128;
/** One service is asked for at most this often; twice as rarely each time its index moved and nothing else, up to a second. */
export const consulSpacingMs = 100;
export const consulSpacingMostMs = 1_000;
/** All services together: at most so many questions a second. */
export const consulQuestionsPerSecondMax = 500;
/** A server that gives no index cannot hold questions back: it is asked this often, as the original does. */
export const consulPollMs = 5_000;
/** A Kubernetes watch lasts between one and one and a half times so many seconds, then it is begun anew. */
export const kubernetesWatchSeconds = 120;
/** Objects in one page of a list: about 1 MiB, parsed in a few milliseconds. */
export const kubernetesPageObjects = 250;
/** Pages of one list without a single object: one is usual, where there are none. */
export const kubernetesEmptyPagesMax = 10;
/** Objects of one kind. */
export const kubernetesObjectsMax = 50_000;
/** One line of a watch: etcd holds objects of up to 1.5 MiB, and JSON may be longer. */
export const kubernetesEventBytesMax = 8 * MIB;
/** A watch that ends at once is not begun anew before this time. */
export const kubernetesWatchEveryMs = 1_000;
/** Failures in a row after which a watch gives up its place and lists everything again. */
export const kubernetesWatchTries = 3;
/** Names in one label selector; above it everything of the namespace is watched, so that the URL stays short. */
export const kubernetesSelectorNamesMax = 100;
/** The state of Ingresses is written and, where it depends on a Service, looked up again this often. */
export const kubernetesStatusMs = 30_000;
/** A service account's token: those of large clusters have 2 KiB. */
export const kubernetesTokenBytesMax = 64 * KIB;
/** Sets of rules kept for a rollback (contract, section 9) … */
export const ruleHistoryMax = 10;
/** … and what their texts may take together: four of the largest; the one in force stays. */
export const ruleHistoryCharsMax = 32 * MIB;
/** Routes named in the answer to a push; the rest is counted. */
export const routeChangesMax = 200;
/** A set of rules must be parsed by then: 8 MiB of hosts took 11 s on a machine with other work to do. */
export const parseWaitMs = 60_000;
/** Changes of the rules by the admin API that run or wait: each is parsed in a thread and holds its text. */
export const adminChangesMax = 4;
/** Body of `POST /jwt`, which is read before its key is known. */
export const adminTokenBytesMax = 16 * KIB;
/** A request body of the admin API must be there by then. */
export const adminBodyWaitMs = 60_000;
/** Connections that the admin API may have beyond `max_connections`: a full proxy must not shut its operator out. */
export const adminConnectionsMax = 64;
/** An admin address that is taken (a successor waits for it) or a certificate that is not there is tried again so often. */
export const adminRetryMs = 2_000;
/** Routes that are put into one piece of `/status` before other work has its turn. */
export const statusRoutesPerTurn = 200;
/** The command line waits so long for an answer of the admin API; a reload may parse large files. */
export const adminAnswerWaitMs = 90_000;
/** … and `aralez health` so long: its caller has a time limit of its own. */
export const adminHealthWaitMs = 5_000;
/** HTTP/2: streams that one client may have open; one counts until its exchange has ended, whoever reset it. */
export const http2StreamsMax = 256;
/** HTTP/2: bytes of one stream that may be on their way to us unread: 64 KiB cap an upload at 1 MB/s over 60 ms. */
export const http2StreamWindow = 256 * KIB;
/** … of all streams of one client together. */
export const http2ClientWindow = 4 * MIB;
/** … of one upstream connection: no bound worth the name, a slow client must not hold up the others' answers. */
export const http2UpstreamWindow = 256 * MIB;
/** HTTP/2: a field block in bytes and frames; endless CONTINUATION frames filled other servers' memory (VU#421644). */
export const http2BlockBytesMax = 64 * KIB;
export const http2BlockFramesMax = 32;
/** HTTP/2: DATA frames that we send; more would make other streams wait, and is what every peer takes. */
export const http2FrameBytes = 16 * KIB;
/** HTTP/2: above so many bytes that a connection has not taken, the sources of its streams are paused. */
export const http2OutputBytesMax = 256 * KIB;
/** HTTP/2: output buffers kept for the next turn, over all connections. */
export const http2BuffersKept = 64;
/** HTTP/2: a window smaller than this (or half the peer's usual one) is waited for instead of sent into piecemeal. */
export const http2SillyWindowBytes = 8 * KIB;
/** … and for so long at most: a peer may be waiting for those very bytes (RFC 9293 3.8.6.2.1 has the same rule). */
export const http2SillyWaitMs = 200;
/** HTTP/2: what a peer may spend on frames that bring nothing forward: 200 resets at once, and so many a second. */
export const http2TokensMax = 1_000;
export const http2TokensPerSecond = 1_000;
/** HTTP/2: pings and window updates that a peer's traffic may have earned it. */
export const http2EarnedMax = 20_000;
/** HTTP/2: streams that we have reset and whose late frames are put up with. */
export const http2ResetsRemembered = 1_024;
/** HTTP/2: after GOAWAY a client may have requests on their way for so long; a ping ends the wait sooner. */
export const http2GoawayWaitMs = 1_000;
/** HTTP/2: a connection with open streams is asked for a sign of life after so long a silence, … */
export const http2PingAfterMs = 30_000;
/** … and is dead without one after this time. */
export const http2PingWaitMs = 15_000;
/** HTTP/2: bytes that wait in streams, one way or the other, over all connections; above it one with more than … */
export const http2QueuesBytesMax = 64 * MIB;
/** … this share is closed (ENHANCE_YOUR_CALM); above twice of it one with more than the next. */
export const http2QueueShareBytes = MIB;
/** … and an upstream's stream that holds more than this: its connection is shared with clients that do read. */
export const http2StreamShareBytes = 64 * KIB;
/** HTTP/2: frames that an upstream may send: fewer and larger than a client's, they are passed on as they come. */
export const http2UpstreamFrameBytes = 64 * KIB;
/** HTTP/2: an upstream has so long to acknowledge our settings and to complete a field block. */
export const http2UpstreamHeaderMs = 10_000;
/** While no more connections may be opened, it is looked so often whether one has room: a place is soon free, or not at all. */
export const http2RoomLookMs = 20;
/** The files of all processes, perhaps a million, are gone through for so long to name who has a port; 50 ms are usual. */
export const portOwnerLookMs = 5_000;
/** What a daemon that does not start may say to its caller: a page of problems. */
export const daemonReportBytesMax = 64 * KIB;
/** A daemon must serve by then (`daemon_ready_timeout_seconds`, Pingora's figure). */
export const daemonReadyWaitMs = 600_000;
/** An idle kept connection of a client has so long for a last request when the proxy drains: one may be on its way. */
export const drainIdleMs = 1_000;
/** … and on Bun.serve, which does not tell its connections, it is looked so often whether there are any. */
export const drainLookMs = 50;
/** A line between a process and its successor: a list of ports. */
export const upgradeLineBytesMax = 64 * KIB;
/** After SIGQUIT a process goes on accepting for so long while it waits for a successor (contract, 11.2). */
export const upgradeQuitWaitMs = 10_000;
/** A successor must serve by then: it reads all its files first, and certificates of thousands of hosts. */
export const upgradeReadyWaitMs = 120_000;
/** What a predecessor or a successor has to do at once (answer, close its ports, write its pid file) must be done by then. */
export const upgradeAnswerWaitMs = 10_000;
/** A predecessor that is to leave empties its queues, which is bounded below, and tells its clients; then it must have left. */
export const upgradeGoneWaitMs = 30_000;
/** Connections that began with the predecessor end with it: so long after the last of them could have begun, … */
export const handOverOverlapMs = 250;
/** … then its queues are looked at so often … */
export const handOverLookMs = 20;
/** … until they are empty, or this has passed: a client may wait in vain, the successor may not. */
export const handOverQueueWaitMs = 5_000;
/** A predecessor stays for so long at least: whoever sends it SIGQUIT after starting the successor must find it. */
export const upgradeLingerMs = 2_000;
/** A SIGQUIT that comes so soon after a take-over was meant for the predecessor: it looked the number up in the pid file. */
export const upgradeQuitDeafMs = 10_000;
/** A lock of shared memory is asked for so often, about 20 µs, before its holder seems to be without a core; … */
export const lockSpins = 1_000;
/** … then once a millisecond, and taken over after so many: its holder was killed or stopped. Ten times a long wait for a core. */
export const lockNapsMax = 250;
/** Turns of pools that workers share, 16 bytes each; a pool beyond goes round in each worker by itself. */
export const sharedTurnsMax = 65_536;
/** Workers: each gives a sign of life so often, … */
export const workerBeatMs = 500;
/** … and tells what it has counted at every so many: that much is lost when it is killed. */
export const workerTallyBeats = 4;
/** A worker silent for so many looks of the supervisor, one at every beat, hangs and is killed: its clients have waited 10 s. */
export const workerSilentBeatsMax = 20;
/** A worker must serve by then; from source on a busy machine it takes a second. */
export const workerStartWaitMs = 30_000;
/** Rules must be compiled by all workers by then, or none takes them: 8 MiB of hosts take a few seconds. */
export const workerPrepareWaitMs = 20_000;
/** /metrics and /status wait so long for the figures of a worker; what comes later is in the next ones. */
export const workerFiguresWaitMs = 1_000;
/** `explain` waits so long for a worker, which may have to ask a key server. */
export const workerExplainWaitMs = 6_000;
/** After the deadline of a drain workers cut what is open and write their last lines; one that is not gone by then is killed. */
export const workerDrainSlackMs = 10_000;
/** A worker that has said its last word waits so long for the channel to be closed. */
export const workerFarewellMs = 2_000;
/** A worker that lived shorter than this has died soon: the second time it is not started again at once … */
export const workerSettledMs = 10_000;
/** … but after this, doubled each time … */
export const workerAgainMs = 250;
/** … up to this. */
export const workerAgainMsMax = 30_000;

/** Connections that the kernel may hold for a listener until they are accepted; it takes less where net.core.somaxconn says so. */
export const acceptQueueMax = 4_096;
/** The same for TLS, where each costs more memory as soon as it is accepted. */
export const tlsAcceptQueueMax = 1_024;

/** The kernel's own bounds of TCP keepalive (include/net/tcp.h): seconds, and probes. */
export const tcpKeepAliveSecondsMax = 32_767;
export const tcpKeepAliveProbesMax = 127;
