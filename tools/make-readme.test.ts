import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { clean, withStory } from './make-readme.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

test('the README has places for the transcript and the screenshots, and what is put there can be replaced', () => {
  const once = withStory(readme, '$ sally ls\n', ['01-home.png', '02-the-inbox.png']);
  assert.match(once, /```text\n\$ sally ls\n```/);
  assert.match(once, /<img alt="The inbox" src="docs\/images\/02-the-inbox\.png"/);
  const twice = withStory(once, '$ sally log\n', ['01-home.png']);
  assert.ok(!twice.includes('02-the-inbox'));
  assert.equal(withStory(twice, '$ sally ls\n', ['01-home.png', '02-the-inbox.png']), once);
});

test('the second chapter has places of its own', () => {
  const both = withStory(withStory(readme, '$ one\n', ['01-home.png']), '$ two\n', ['21-held.png'], 'second-door-');
  assert.match(both, /\$ one\n[\s\S]*01-home\.png[\s\S]*\$ two\n[\s\S]*21-held\.png/);
});

test('a README without a place is refused', () => {
  assert.throws(() => withStory('# Sallyport', '', []), /no place marked/);
});

test('paths of the machine and secrets of the run are left out', () => {
  const said = [
    'data /home/ada/code/sallyport/.sally',
    'http://localhost:7700/enrol#sly_ln_sE2XdzVLO7ye-2RP4qd1anMFqMraP78Dr6a461MXqnE',
    'postgresql://ada.x7k2m9qa:s3cret-s3cret@localhost:7701/orders?sslmode=verify-full',
    "export PGPASSWORD='s3cret'",
    '\u001b[1mready\u001b[0m  ',
  ].join('\n');
  assert.equal(
    clean(said, [[/\/home\/ada\/code\/sallyport/g, '~/sallyport']]),
    [
      'data ~/sallyport/.sally',
      'http://localhost:7700/enrol#…',
      'postgresql://ada.x7k2m9qa:…@localhost:7701/orders?sslmode=verify-full',
      'export PGPASSWORD=…',
      'ready',
    ].join('\n'),
  );
});
