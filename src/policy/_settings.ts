/** The parts of `sallyport.yaml` that policies look at or that bound them: networks, working hours, how long a hold waits. */
import type { Node } from 'yaml';
import { parseResourceName } from '#core/ids.ts';
import { hours, minutes, type Duration } from '#core/instant.ts';
import { defaultHolds, type Configuration, type HoldLimits, type Weekday, type WorkingHours } from '#core/role.ts';
import { isNetwork } from './address.ts';
import { defaultWorkingHours, isZone, weekdays } from './_working-hours.ts';
import type { YamlReader } from './_yaml-reader.ts';

/** A client that waits for longer has been forgotten; and in a transaction it keeps its locks. */
const longestHold: Duration = hours(1);
const longestInTransaction: Duration = minutes(10);

export function readNetworks(yaml: YamlReader, node: Node): NonNullable<Configuration['networks']> {
  const networks: [string, readonly string[]][] = [];
  for (const { key, keyNode, value } of yaml.entries(node, '`networks`') ?? []) {
    if (parseResourceName(key) === undefined)
      yaml.fault(
        keyNode,
        `\`${key}\` is not a name for a network`,
        'lower-case letters and digits, with single hyphens between words',
      );
    const items = value !== undefined && 'items' in value ? yaml.list(value, `network \`${key}\``) : [value ?? keyNode];
    const blocks: string[] = [];
    for (const item of items ?? []) {
      const text = value === undefined ? undefined : yaml.text(item, 'a network');
      if (text === undefined) continue;
      if (!isNetwork(text))
        yaml.fault(
          item,
          `\`${text}\` is neither an address nor a network`,
          'for example `10.0.0.0/8`, `192.0.2.7` or `2001:db8::/32`',
        );
      else if (blocks.includes(text)) yaml.fault(item, `\`${text}\` is there twice`);
      else blocks.push(text);
    }
    // INVARIANT 1: a set that holds no address would make every policy about it say something else than it reads.
    if (items?.length === 0 || value === undefined) yaml.fault(keyNode, `network \`${key}\` names no address`);
    networks.push([key, blocks]);
  }
  return Object.fromEntries(networks);
}

export function readWorkingHours(yaml: YamlReader, node: Node): WorkingHours | undefined {
  const fields = yaml.record(node, '`working-hours`', ['zone', 'days', 'from', 'to'], ['from', 'to']);
  if (fields === undefined) return undefined;
  const zone = fields.zone === undefined ? 'UTC' : yaml.text(fields.zone, '`zone`', 64);
  if (zone !== undefined && !isZone(zone))
    yaml.fault(fields.zone, `\`${zone}\` is not a time zone`, 'for example `Europe/Berlin` or `UTC`');
  const days: Weekday[] = [];
  const items = fields.days === undefined ? undefined : yaml.list(fields.days, '`days`');
  for (const item of items ?? []) {
    const text = yaml.text(item, 'a day');
    const day = weekdays.findIndex((name) => name === text);
    if (text === undefined) continue;
    if (day === -1)
      yaml.fault(item, `\`${text}\` is not a day`, `the days are ${weekdays.map((d) => `\`${d}\``).join(', ')}`);
    else if (days.includes(day as Weekday)) yaml.fault(item, `\`${text}\` is there twice`);
    else days.push(day as Weekday);
  }
  if (items?.length === 0) yaml.fault(fields.days, '`days` is empty: nobody would ever work');
  const from = readTime(yaml, fields.from, '`from`', 24 * 60 - 1);
  const to = readTime(yaml, fields.to, '`to`', 24 * 60);
  if (zone === undefined || from === undefined || to === undefined) return undefined;
  if (from === to)
    return yaml.fault(fields.to, '`to` is `from`: nobody would ever work', 'the whole day is `00:00` to `24:00`');
  return { zone, days: items === undefined ? defaultWorkingHours.days : days.toSorted((a, b) => a - b), from, to };
}

/** Minutes since midnight. */
function readTime(yaml: YamlReader, node: Node | undefined, what: string, latest: number): number | undefined {
  const text = yaml.text(node, what);
  if (text === undefined) return undefined;
  const match = /^(\d\d):(\d\d)$/.exec(text);
  const minute = Number(match?.[1]) * 60 + Number(match?.[2]);
  if (match === null || Number(match[2]) > 59 || minute > latest)
    return yaml.fault(node, `\`${text}\` is not a time of day`, 'for example `09:00`');
  return minute;
}

export function readHolds(
  yaml: YamlReader,
  node: Node,
  readDuration: (node: Node | undefined, what: string, longest: Duration) => Duration | undefined,
): HoldLimits | undefined {
  const fields = yaml.record(node, '`holds`', ['longest', 'in-transaction']);
  const longest =
    fields?.longest === undefined ? defaultHolds.longest : readDuration(fields.longest, '`longest`', longestHold);
  const inTransaction =
    fields?.['in-transaction'] === undefined
      ? undefined
      : readDuration(fields['in-transaction'], '`in-transaction`', longestInTransaction);
  if (longest === undefined) return undefined;
  if (inTransaction !== undefined && inTransaction > longest)
    return yaml.fault(fields?.['in-transaction'], '`in-transaction` is longer than `longest`');
  // INVARIANT 9: the shorter one wins where only the longer was made short.
  return { longest, inTransaction: inTransaction ?? (Math.min(defaultHolds.inTransaction, longest) as Duration) };
}
