/**
 * Runs the story and puts what was seen into the README: its transcript between `<!-- transcript -->` and `<!-- end -->`,
 * its screenshots as docs/images/*.png between `<!-- screenshots -->` and `<!-- end -->`; those of the second chapter, whose
 * pictures are numbered from 21, between marks that begin with `second-door-`. The rest of the README is written by hand.
 *
 *   node tools/make-readme.ts
 *
 * `test/e2e/story.ts --transcript FILE --screenshots DIR` writes plain text and PNG files. A picture's name is its caption:
 * `03-the-inbox.png` is "the inbox".
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** The README with a transcript and the pictures of these names, in the places of that chapter. */
export function withStory(
  readme: string,
  transcript: string,
  pictures: readonly string[],
  chapter: '' | 'second-door-' = '',
): string {
  const fence = '```';
  return [
    [`${chapter}transcript`, transcript.trim() === '' ? '' : `${fence}text\n${transcript.trimEnd()}\n${fence}\n`],
    [`${chapter}screenshots`, pictures.map((picture) => `${imageOf(picture)}\n`).join('')],
  ].reduce((text, [mark, content]) => {
    const block = new RegExp(`(<!-- ${mark} -->\n)[\\s\\S]*?(<!-- end -->)`);
    if (!block.test(text)) throw new Error(`make the readme: it has no place marked \`<!-- ${mark} -->\``);
    return text.replace(block, (_, open: string, close: string) => `${open}${content}${close}`);
  }, readme);
}

function imageOf(picture: string): string {
  const words = picture
    .replace(/^\d+-/, '')
    .replace(/\.png$/, '')
    .replaceAll('-', ' ');
  const caption = words.charAt(0).toUpperCase() + words.slice(1);
  // Two beside each other; a phone is narrow.
  return `<img alt="${caption}" src="docs/images/${picture}" width="${picture.includes('phone') ? 24 : 49}%">`;
}

/** What belongs to the machine it ran on, and what was secret while it ran, is left out. */
export function clean(transcript: string, places: readonly (readonly [place: RegExp, shown: string])[]): string {
  const text = places.reduce((now, [place, shown]) => now.replaceAll(place, shown), transcript);
  return (
    text
      // Colours and cursor movements.
      // oxlint-disable-next-line no-control-regex
      .replaceAll(/\u001b\[[0-9;?]*[A-Za-z]/g, '')
      .replaceAll(/#sly_[\w-]+/g, '#…')
      .replaceAll(/sly_[a-z]+_[\w-]{16,}/g, '…')
      .replaceAll(/(postgres(?:ql)?:\/\/[^:@\s]+:)[^@\s]+@/g, '$1…@')
      .replaceAll(/^(\s*(?:export )?PGPASSWORD=).*$/gm, '$1…')
      .replaceAll(/[ \t]+$/gm, '')
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = resolve(import.meta.dirname, '..');
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-readme-'));
  try {
    const transcript = join(folder, 'transcript.txt');
    const screenshots = join(folder, 'screenshots');
    mkdirSync(screenshots);
    const { status } = spawnSync(
      process.execPath,
      ['test/e2e/story.ts', '--transcript', transcript, '--screenshots', screenshots],
      { cwd: root, stdio: 'inherit' },
    );
    if (status !== 0) throw new Error('make the readme: the story failed, the readme stays as it is');
    const pictures = readdirSync(screenshots)
      .filter((name) => name.endsWith('.png'))
      .toSorted();
    const images = join(root, 'docs/images');
    rmSync(images, { recursive: true, force: true });
    for (const name of pictures) cpSync(join(screenshots, name), join(images, name));
    const readme = join(root, 'README.md');
    // Each person of the story has a home below a folder of the run's own; ports differ from run to run.
    const shown = (file: string) =>
      clean(readFileSync(file, 'utf8'), [
        [/\/[^\s:]*\/sally-story-\w+\/(?:ada|bob|carol|root)\b/g, '~'],
        [/\/[^\s:]*\/sally-story-\w+\//g, ''],
        [new RegExp(`${RegExp.escape(root)}\\b`, 'g'), '~/sallyport'],
        [/http:\/\/localhost:\d+/g, 'http://localhost:7700'],
      ]);
    const isSecond = (name: string) => name.startsWith('2');
    const first = withStory(
      readFileSync(readme, 'utf8'),
      shown(transcript),
      pictures.filter((name) => !isSecond(name)),
    );
    writeFileSync(
      readme,
      withStory(first, shown(`${transcript}.second-door`), pictures.filter(isSecond), 'second-door-'),
    );
    console.log(`wrote README.md and ${pictures.length} pictures to docs/images`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
