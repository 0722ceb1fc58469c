/**
 * How tables and functions are written in configuration files and in Cedar: `schema.name`, each part either a plain
 * lower-case identifier or in double quotes, as in SQL. One spelling for each name, so that two tables never share one and
 * a name can't smuggle in a dot.
 */
import type { ChannelPermission } from '#core/role.ts';
import { quoteName } from '#sql/needs.ts';

export type ObjectName = { readonly schema: string; readonly name: string };

const part = /^(?:([a-z_][a-z0-9_$]*)|"((?:[^"\0]|"")+)")/;

/** `public.orders`, `"Sales".orders`; undefined when it isn't one or isn't in its one spelling. */
export function parseObjectName(text: string): ObjectName | undefined {
  const schema = part.exec(text);
  if (schema === null || text[schema[0].length] !== '.') return undefined;
  const rest = text.slice(schema[0].length + 1);
  const name = part.exec(rest);
  if (name === null || name[0].length !== rest.length) return undefined;
  const parsed = { schema: unquote(schema), name: unquote(name) };
  return formatObjectName(parsed) === text ? parsed : undefined;
}

function unquote(match: RegExpExecArray): string {
  return match[1] ?? (match[2] ?? '').replaceAll('""', '"');
}

export function formatObjectName({ schema, name }: ObjectName): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}

/** `orders_changed`, `"Orders"`, or `*` for any (a channel of that name is `"*"`); undefined when it is none of them. */
export function parseChannel(text: string): ChannelPermission['channel'] | undefined {
  if (text === '*') return 'any';
  const match = part.exec(text);
  if (match === null || match[0].length !== text.length) return undefined;
  const channel = { name: unquote(match) };
  return formatChannel(channel) === text ? channel : undefined;
}

export function formatChannel(channel: ChannelPermission['channel']): string {
  return channel === 'any' ? '*' : quoteName(channel.name);
}

/** A Cedar string literal. Everything that could end or change it is escaped, so no name can become policy text. */
export function cedarString(text: string): string {
  let out = '"';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (char === '"' || char === '\\') out += `\\${char}`;
    else if (code < 0x20 || code === 0x7f || (code >= 0x80 && code < 0xa0) || code === 0x2028 || code === 0x2029)
      out += `\\u{${code.toString(16)}}`;
    else out += char;
  }
  return `${out}"`;
}
