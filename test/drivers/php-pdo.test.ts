import { php } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'PHP pdo_pgsql',
  run: (house) => runScript(house, [php], 'with_pdo.php'),
  without: { cancel: 'PDO has none', 'many connections': 'it has no pool' },
  also: { emulated: ["it's", 4], scrolled: [2000, 2_001_000], catalogue: ['int4', 'orders'] },
});
