/**
 * Runs the story and puts what was seen into the README: its transcript between `<!-- transcript -->` and `<!-- end -->`,
 * its screenshots as docs/images/*.png between `<!-- screenshots -->` and `<!-- end -->`. The rest of the README is
 * written by hand.
 *
 *   node tools/make-readme.ts
 *
 * `test/e2e/story.ts --transcript FILE --screenshots DIR` writes plain text and PNG files. A picture's name is its caption,
 * and one that comes as `NAME-light.png` and `NAME-dark.png` is shown as the reader's screen is.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** The README with a transcript and the pictures of these names. */
export function withStory(readme: string, transcript: string, pictures: readonly string[]): string {
  const fence = '```';
  return [
    ['transcript', transcript.trim() === '' ? '' : `${fence}text\n${transcript.trimEnd()}\n${fence}\n`],
    ['screenshots', [...new Set(pictures.map(baseOf))].map((base) => `${shown(base, pictures)}\n`).join('\n')],
  ].reduce((text, [mark, content]) => {
    const block = new RegExp(`(<!-- ${mark} -->\n)[\\s\\S]*?(<!-- end -->)`);
    if (!block.test(text)) throw new Error(`make the readme: it has no place marked \`<!-- ${mark} -->\``);
    return text.replace(block, (_, open: string, close: string) => `${open}${content}${close}`);
  }, readme);
}

const baseOf = (picture: string): string => picture.replace(/(?:-light|-dark)?\.png$/, '');

/** One picture, or the pair of it, by its name without ending. */
function shown(base: string, pictures: readonly string[]): string {
  const words = base.replace(/^\d+-/, '').replaceAll('-', ' ');
  const caption = words.charAt(0).toUpperCase() + words.slice(1);
  const dark = `${base}-dark.png`;
  const light = [`${base}-light.png`, `${base}.png`].find((name) => pictures.includes(name));
  if (light === undefined || !pictures.includes(dark)) return `![${caption}](docs/images/${light ?? dark})`;
  return [
    '<picture>',
    `  <source media="(prefers-color-scheme: dark)" srcset="docs/images/${dark}">`,
    `  <img alt="${caption}" src="docs/images/${light}">`,
    '</picture>',
  ].join('\n');
}

/** What belongs to the machine it ran on, and what was secret while it ran, is left out. */
export function clean(transcript: string, places: Readonly<Record<string, string>>): string {
  const text = Object.entries(places)
    .toSorted(([a], [b]) => b.length - a.length)
    .reduce((now, [path, shown]) => now.replaceAll(path, shown), transcript);
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
    const text = clean(readFileSync(transcript, 'utf8'), {
      [root]: '~/sallyport',
      [tmpdir()]: '/tmp',
      [homedir()]: '~',
    });
    writeFileSync(readme, withStory(readFileSync(readme, 'utf8'), text, pictures));
    console.log(`wrote README.md and ${pictures.length} pictures to docs/images`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
