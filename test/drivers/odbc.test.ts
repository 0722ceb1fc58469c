import { python } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'ODBC',
  run: (house) => runScript(house, [python], 'with_pyodbc.py'),
  without: {
    'copy in': 'ODBC has none',
    'copy out': 'ODBC has none',
    notification: 'ODBC has none',
    'many connections': 'the manager’s pool is for one process at a time',
  },
  also: {
    'values put into the text': ["it's", 4],
    catalogue: [5, 14, ['n'], 1, true, true, true, true, 1, true],
  },
});
