/** The contract as an OpenAPI 3.1 document. Nothing is written by hand that the endpoints and their schemas say already. */
import { z } from 'zod';
import type { Endpoint } from './endpoint.ts';
import { endpoints } from './endpoints.ts';
import { errorBody, errorStatus, type ErrorCode } from './errors.ts';

type Json = { readonly [name: string]: unknown };

/** What any endpoint can answer besides its own errors. */
const common: readonly ErrorCode[] = ['too_many_tries', 'fault', 'unavailable', 'misdirected'];

const prefix = '#/components/schemas/';

export function openApiDocument(from: { readonly publicUrl?: string } = {}): Json {
  const components: Record<string, unknown> = {};
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [name, endpoint] of Object.entries(endpoints) as [string, Endpoint][])
    (paths[endpoint.path] ??= {})[endpoint.method.toLowerCase()] = operationOf(name, endpoint, components);
  schemaOf(errorBody, 'output', components);
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sallyport',
      version: '1',
      description:
        'Temporary access to production. Times are RFC 3339 in UTC with milliseconds, durations whole seconds. Ceremonies are described in docs/api.md.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    ...(from.publicUrl === undefined ? {} : { servers: [{ url: from.publicUrl }] }),
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(components).toSorted(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        console: {
          type: 'apiKey',
          in: 'cookie',
          name: '__Host-sally',
          description:
            'the sign-in of the console; `sally` when the console is at http://localhost. A POST needs `Origin` of the console.',
        },
        cli: {
          type: 'http',
          scheme: 'DPoP',
          description:
            'RFC 9449: `Authorization: DPoP TOKEN` and a `DPoP` proof for each request. Tokens come from /oauth/token (authorization code with PKCE); see /.well-known/oauth-authorization-server.',
        },
      },
    },
  };
}

function operationOf(name: string, endpoint: Endpoint, components: Record<string, unknown>): Json {
  const codes = new Set<ErrorCode>([...endpoint.errors, ...common]);
  const takesInput = endpoint.params !== undefined || endpoint.query !== undefined || endpoint.body !== undefined;
  if (takesInput) codes.add('invalid_input');
  if (endpoint.body !== undefined) codes.add('too_large');
  if (endpoint.for === 'principal') codes.add('not_signed_in').add('invalid_token').add('cross_site');
  else if (endpoint.method === 'POST') codes.add('cross_site');
  const answerType = endpoint.answerType ?? 'application/json';
  return {
    operationId: name,
    summary: endpoint.summary,
    security: endpoint.for === 'stranger' ? [] : [{ console: [] }, { cli: [] }],
    ...(endpoint.params === undefined && endpoint.query === undefined
      ? {}
      : { parameters: [...parametersOf(endpoint.params, 'path'), ...parametersOf(endpoint.query, 'query')] }),
    ...(endpoint.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaOf(endpoint.body, 'input', components) } },
          },
        }),
    responses: {
      200: {
        description: 'done',
        content: {
          [answerType]: {
            schema:
              endpoint.answerType === undefined ? schemaOf(endpoint.answer, 'output', components) : { type: 'string' },
          },
        },
      },
      ...errorsOf(codes),
    },
  };
}

function errorsOf(codes: ReadonlySet<ErrorCode>): Json {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of [...codes].toSorted()) {
    const known = byStatus.get(errorStatus[code]);
    if (known === undefined) byStatus.set(errorStatus[code], [code]);
    else known.push(code);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, which]) => [
      status,
      {
        description: which.map((code) => `\`${code}\``).join(', '),
        content: { 'application/json': { schema: { $ref: `${prefix}Error` } } },
      },
    ]),
  );
}

function parametersOf(schema: z.ZodObject | undefined, place: 'path' | 'query'): readonly Json[] {
  if (schema === undefined) return [];
  const shape = z.toJSONSchema(schema, { io: 'input' });
  const required = new Set(shape.required ?? []);
  return Object.entries(shape.properties ?? {}).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.has(name),
    schema: property,
  }));
}

/** The schema with everything that has an id moved among the components. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', components: Record<string, unknown>): Json {
  const {
    $schema: _,
    $defs,
    id,
    ...whole
  } = z.toJSONSchema(schema, { io }) as Json & {
    readonly $defs?: Readonly<Record<string, Json>>;
    readonly id?: string;
  };
  for (const [name, definition] of Object.entries($defs ?? {})) keep(name, definition, components);
  const moved = withComponentRefs(whole) as Json;
  if (id === undefined) return moved;
  keep(id, moved, components);
  return { $ref: `${prefix}${id}` };
}

function keep(name: string, definition: Json, components: Record<string, unknown>): void {
  const { id: _, ...rest } = definition;
  components[name] = withComponentRefs(rest);
}

function withComponentRefs(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withComponentRefs);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === '$ref' && typeof inner === 'string' ? inner.replace(/^#\/\$defs\//, prefix) : withComponentRefs(inner),
    ]),
  );
}
