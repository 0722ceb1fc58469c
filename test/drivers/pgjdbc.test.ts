import { jdbcJar } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'pgjdbc',
  run: (house) =>
    // A program that runs once isn't worth the optimising compiler's time.
    runScript(
      house,
      ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Dfile.encoding=UTF-8', '-cp', jdbcJar],
      'WithPgjdbc.java',
    ),
  also: {
    'query timeout': '57014',
    'error in a batch': ['23505', 0],
    prepared: 101,
    'simple protocol': ["it's", 4],
    autosave: ['22012', '42501', 'usable'],
    metadata: [
      true,
      true,
      true,
      true,
      5,
      14,
      1,
      true,
      1,
      2,
      1,
      true,
      true,
      1,
      ...Array.from({ length: 9 }, () => true),
    ],
    'shape before it runs': [3, 'orders', 'order_status', true, 0, 'int4'],
    'edited in place': 'edited',
    settings: ['25006', 'public', 'matrix', true, 'off'],
  },
});
