import { python } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'ODBC',
  run: (house) => runScript(house, [python, '-B'], 'with_pyodbc.py'),
  without: {
    'copy in': 'ODBC has none',
    'copy out': 'ODBC has none',
    notification: 'ODBC has none',
    refused: 'the driver shows no hints',
    'refused in a transaction': 'the driver goes back to a savepoint of its own',
    'many connections': 'the manager’s pool is for one process at a time',
  },
  also: {
    'refused without the hint': '42501',
    'refused in a transaction, gone back by the driver': ['42501', 'none'],
    'values put into the text': ["it's", 4],
    catalogue: [5, 14, ['n'], 1, true, true, true, true, true, true],
  },
});
