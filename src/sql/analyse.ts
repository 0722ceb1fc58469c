import { otherNeed, type Analysis } from './needs.ts';
import type { Names, UnknownNames } from './names.ts';
import type { Parser } from './parser.ts';

/** What each statement of a text needs. Never throws: what can't be analysed needs `other`. */
export function analyse(_parser: Parser, text: string, _names: Names | UnknownNames): Analysis {
  return {
    kind: 'statements',
    statements: [
      {
        text,
        tag: '',
        class: 'dangerous',
        needs: [otherNeed],
        hasWhere: undefined,
        functions: [],
        copy: undefined,
        mayChangeNames: true,
        endsTransaction: false,
        because: 'it was not analysed',
      },
    ],
  };
}
