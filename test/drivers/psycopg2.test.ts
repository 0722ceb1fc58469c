import { python } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'psycopg 2',
  run: (house) => runScript(house, [python, '-B'], 'with_psycopg2.py'),
  putsValuesIntoText: true,
  also: { 'scrolled back': 11, 'read only': 'on' },
});
