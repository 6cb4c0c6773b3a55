/** StartError: why the proxy cannot start. */

/** The message is ready to print. */
export class StartError extends Error {}
