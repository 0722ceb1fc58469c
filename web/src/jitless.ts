// Zod compiles schemas with `new Function` where it may; trying is a violation under our content security policy. This
// module is imported before any schema is made, so that it never tries.
import { config } from 'zod';

config({ jitless: true });
