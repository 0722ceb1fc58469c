/** Reads a request's body, never more of it than it may have. How long it may take is the server's (`requestTimeout`). */
import { ClientGone, refuse } from './errors.ts';

/** @throws RefusedRequest `too_large`, with the connection closed behind it; ClientGone */
export async function readBody(request: Request, mostBytes: number): Promise<Uint8Array> {
  const tooLarge = () =>
    refuse('too_large', `the body is larger than ${mostBytes} bytes`, { headers: { connection: 'close' } });
  const announced = request.headers.get('content-length');
  if (announced !== null && Number(announced) > mostBytes) throw tooLarge();
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (cause) {
      throw new ClientGone('read a body: the client is gone', { cause });
    }
    if (read.done) break;
    length += read.value.length;
    if (length > mostBytes) {
      // Whatever comes after is thrown away with the connection.
      reader.cancel().catch(() => undefined);
      throw tooLarge();
    }
    chunks.push(read.value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** UTF-8 as text, or undefined: bytes that aren't text are not guessed at. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
