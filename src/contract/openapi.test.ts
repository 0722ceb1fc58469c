import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { endpoints } from './endpoints.ts';
import { errorStatus } from './errors.ts';
import { openApiDocument } from './openapi.ts';

const golden = new URL('../../docs/openapi.json', import.meta.url);

type Operation = {
  readonly operationId: string;
  readonly security: readonly object[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly responses: Readonly<Record<string, unknown>>;
};
type Document = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
};

const document = openApiDocument() as unknown as Document;
const operations = new Map(
  Object.values(document.paths).flatMap((path) =>
    Object.values(path).map((operation) => [operation.operationId, operation] as const),
  ),
);

test('docs/openapi.json is the contract', () => {
  const text = `${JSON.stringify(document, null, 2)}\n`;
  if (process.env['SALLY_UPDATE_GOLDEN'] === '1') writeFileSync(golden, text);
  assert.equal(
    text,
    readFileSync(golden, 'utf8'),
    'the contract has changed: run `SALLY_UPDATE_GOLDEN=1 node --test src/contract/openapi.test.ts` and commit docs/openapi.json',
  );
});

test('every endpoint is in the OpenAPI document, with its parameters and every error that it names', () => {
  assert.deepEqual([...operations.keys()].toSorted(), Object.keys(endpoints).toSorted());
  for (const [name, endpoint] of Object.entries(endpoints)) {
    const operation = operations.get(name);
    assert.ok(operation);
    for (const code of endpoint.errors) assert.ok(operation.responses[errorStatus[code]], `${name}: ${code}`);
    assert.equal(operation.security.length > 0, endpoint.for === 'principal', name);
    const inPath = [...endpoint.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    const told = operation.parameters?.filter((parameter) => parameter.in === 'path').map(({ name: n }) => n) ?? [];
    assert.deepEqual(told, inPath, name);
  }
});

test('every reference in the OpenAPI document leads somewhere, and nothing stands in for a schema that could not be said', () => {
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g))
    assert.ok(document.components.schemas[name ?? ''], name);
  assert.equal(text.includes('$defs'), false);
  for (const match of text.matchAll(/"\$ref":"([^"]+)"/g)) assert.match(match[1] ?? '', /^#\/components\/schemas\//);
});
