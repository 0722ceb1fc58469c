/** Times as people say them. Exact ones are in the machine's time zone, and in UTC in every JSON document. */

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** `45 s`, `12 min`, `1 h 20 min`, `2 d 3 h`: the two largest units; what is left is rounded up to whole minutes. */
export function span(milliseconds: number): string {
  if (milliseconds < minute) return `${Math.max(0, Math.ceil(milliseconds / second))} s`;
  const rounded = Math.ceil((milliseconds - second / 2) / minute) * minute;
  const days = Math.floor(rounded / day);
  const hours = Math.floor((rounded % day) / hour);
  const minutes = Math.floor((rounded % hour) / minute);
  const parts =
    days > 0
      ? [`${days} d`, hours > 0 ? `${hours} h` : '']
      : [hours > 0 ? `${hours} h` : '', minutes > 0 ? `${minutes} min` : ''];
  return parts.filter((part) => part !== '').join(' ');
}

/** `in 12 min`, `3 min ago`, `now`. */
export function relative(at: string | number, now: number): string {
  const difference = (typeof at === 'number' ? at : Date.parse(at)) - now;
  if (Math.abs(difference) < 5 * second) return 'now';
  return difference > 0 ? `in ${span(difference)}` : `${ago(-difference)} ago`;
}

// What is past is rounded down: something 59 s ago was not a minute ago.
function ago(milliseconds: number): string {
  if (milliseconds < minute) return `${Math.floor(milliseconds / second)} s`;
  if (milliseconds < hour) return `${Math.floor(milliseconds / minute)} min`;
  if (milliseconds < day) return `${Math.floor(milliseconds / hour)} h`;
  return `${Math.floor(milliseconds / day)} d`;
}

/** What is left until then; `over` when nothing is. */
export function left(until: string, now: number): string {
  const rest = Date.parse(until) - now;
  return rest <= 0 ? 'over' : span(rest);
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const pad = (n: number) => String(n).padStart(2, '0');

/** `14:05` today, `23 Nov 14:05` this year, `23 Nov 2025 14:05` else. */
export function clockTime(at: string | number, now: number): string {
  const then = new Date(at);
  const today = new Date(now);
  const time = `${pad(then.getHours())}:${pad(then.getMinutes())}`;
  const date = `${then.getDate()} ${months[then.getMonth()] ?? ''}`;
  if (then.getFullYear() !== today.getFullYear()) return `${date} ${then.getFullYear()} ${time}`;
  if (then.getMonth() !== today.getMonth() || then.getDate() !== today.getDate()) return `${date} ${time}`;
  return time;
}

/** `14:05, in 12 min`. */
export function timeAndRelative(at: string, now: number): string {
  return `${clockTime(at, now)}, ${relative(at, now)}`;
}

/** With seconds, for lists of events: `14:05:09`, or `23 Nov 14:05:09` on another day. */
export function eventTime(at: string, now: number): string {
  return `${clockTime(at, now)}:${pad(new Date(at).getSeconds())}`;
}
