/** The text of an answer to a request of our own, whose sender may not fill our memory with it. */

/**
 * @param what is too long, for the message
 * @returns the body, decoded as UTF-8
 * @throws Error when it has more bytes than that, and the error of the connection
 */
export async function boundedText(response: Response, bytesMax: number, what: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error(`${what} is longer than ${bytesMax} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
