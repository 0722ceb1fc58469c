/**
 * OpenID AuthZEN Authorization API 1.0 as schemas, and its Access Request and Approval Profile (draft 1). These bodies are
 * another's: members that we don't know are ignored (§10.1.1), names are in their spelling, and errors have their form.
 */
import { z } from 'zod';

/** Longer ones name nothing of ours; what is asked goes into the log. */
const text = z.string().max(512);
const properties = z.record(z.string().max(100), z.unknown());
const page = z.object({ token: z.string().max(1000).optional(), limit: z.number().int().min(0).optional() });

/** §5.1 and §5.2. */
const entity = z.object({ type: text, id: text, properties: properties.optional() });
/** §5.3. */
const action = z.object({ name: text, properties: properties.optional() });
const context = properties;
const typeOnly = z.object({ type: text, properties: properties.optional() });

/** §6.1. */
export const evaluationRequest = z.object({ subject: entity, action, resource: entity, context: context.optional() });

const evaluationSemantic = z.enum(['execute_all', 'deny_on_first_deny', 'permit_on_first_permit']);

/** More in one message would hold up everybody else's. */
const mostEvaluations = 50;

/** A default may leave out what each item says for itself. */
const partialEntity = entity.partial();
/** §7.1. What an item lacks is an error of that item alone (§7.2.1), so items are only looked at one by one. */
export const evaluationsRequest = z.object({
  subject: partialEntity.optional(),
  action: action.partial().optional(),
  resource: partialEntity.optional(),
  context: context.optional(),
  evaluations: z.array(z.unknown()).max(mostEvaluations).optional(),
  options: z.object({ evaluations_semantic: evaluationSemantic.optional() }).optional(),
});
export type EvaluationsRequest = z.infer<typeof evaluationsRequest>;

/** §8.4.1, §8.5.1, §8.6.1. */
export const subjectSearch = z.object({
  subject: typeOnly,
  action,
  resource: entity,
  context: context.optional(),
  page: page.optional(),
});
export const resourceSearch = z.object({
  subject: entity,
  action,
  resource: typeOnly,
  context: context.optional(),
  page: page.optional(),
});
export const actionSearch = z.object({
  subject: entity,
  resource: entity,
  context: context.optional(),
  page: page.optional(),
});

const reason = z.string().trim().min(3).max(1000);

/** Of the profile, "Access Request Submission". */
export const accessRequestSubmission = z.object({
  subject: entity,
  action: action.optional(),
  resource: entity.optional(),
  context: z.object({ business_justification: reason.optional() }).optional(),
  requested_access: z.object({ requested_until: z.string().max(40).optional() }).optional(),
  denial: z
    .object({
      evaluation_id: text.optional(),
      expires_at: z.string().max(40),
      template: text.optional(),
    })
    .optional(),
  items: z.unknown().optional(),
  callback: z.unknown().optional(),
});

export const cancellation = z.object({ reason: text.optional(), comment: text.optional() });

/** Served at `request_schema_url`: what a submission has to say besides what was evaluated. */
export const submissionJsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'What to add to an access request',
  type: 'object',
  properties: {
    context: {
      type: 'object',
      properties: {
        business_justification: {
          type: 'string',
          minLength: 3,
          maxLength: 1000,
          description: 'why access is needed; approvers read it, and it is kept',
        },
      },
      required: ['business_justification'],
    },
    requested_access: {
      type: 'object',
      properties: {
        requested_until: {
          type: 'string',
          format: 'date-time',
          description: 'how long the access is to last; it is given for no longer than the role allows',
        },
      },
    },
  },
  required: ['context'],
} as const;

export const problemTypes = {
  not_requestable: 400,
  invalid_denial_binding: 400,
  expired_denial: 410,
  duplicate_request: 409,
  unknown_task: 404,
  invalid_task_state: 409,
} as const;
