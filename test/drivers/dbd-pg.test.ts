import { perl } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'DBD::Pg',
  run: (house) => runScript(house, [perl], 'with_dbd_pg.pl'),
  without: { 'many connections': 'it has no pool' },
  also: { catalogue: [14, 'n', 1, 5, 1] },
});
