/** docs/api.md is what others write clients from: its examples fit the schemas, and its list of endpoints is complete. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { encodeBase64Url } from '#core/base64.ts';
import { describeProof, parseProofObject } from '#core/proof.ts';
import type { Endpoint } from '#contract/endpoint.ts';
import { endpoints } from '#contract/endpoints.ts';
import { proofChallenge } from '#log/challenge.ts';

const text = readFileSync(new URL('../docs/api.md', import.meta.url), 'utf8');
const all: Readonly<Record<string, Endpoint>> = endpoints;
const examples = [...text.matchAll(/<!-- (body|answer) (\w+) -->\n\s*```json\n([^`]*)```/g)].map(
  ([, part = '', name = '', json = '']) => ({
    part: part as 'body' | 'answer',
    name,
    value: JSON.parse(json) as unknown,
  }),
);

test('the page has examples, and every marked one was found', () => {
  assert.ok(examples.length > 10);
  assert.equal(examples.length, text.split('<!-- ').length - 1);
});

for (const { part, name, value } of examples)
  test(`the example of the ${part} of ${name} fits its schema`, () => {
    const schema = all[name]?.[part];
    assert.ok(schema !== undefined, 'the endpoint exists');
    // Beyond the schema: no member that the schema would drop.
    assert.deepEqual(schema.parse(value), value);
  });

test('the example of a proof has the challenge and the words of its object', () => {
  const offer = examples.find(({ part, name }) => part === 'answer' && name === 'offerProof')?.value as {
    readonly object: unknown;
    readonly challenge: string;
    readonly words: readonly unknown[];
  };
  const object = parseProofObject(offer.object);
  assert.ok(object !== undefined);
  assert.equal(offer.challenge, encodeBase64Url(proofChallenge(object)));
  assert.deepEqual(offer.words, describeProof(object).slice(0, offer.words.length));
});

test('every endpoint is listed, with who may ask', () => {
  const listed = [...text.matchAll(/^\| `(\w+)` \| `(\w+) (\S+)` \| (anybody|signed in) \|$/gm)].map((row) =>
    row.slice(1, 5),
  );
  assert.deepEqual(
    listed,
    Object.entries(all).map(([name, { method, path, for: who }]) => [
      name,
      method,
      path,
      who === 'stranger' ? 'anybody' : 'signed in',
    ]),
    'the table at the end of docs/api.md is src/contract/endpoints.ts, row by row',
  );
});
