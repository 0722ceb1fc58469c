import { python } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'psycopg 3',
  run: (house) => runScript(house, [python, '-B'], 'psycopg3.py'),
  also: {
    'binary parameters': 4,
    'error in a pipeline': ['22012', 0],
    'refused in a pipeline': ['42501', 0],
    prepared: [0, 1, 2, 3, 4, 5, 6, 7],
  },
});
