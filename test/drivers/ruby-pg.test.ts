import { ruby } from '../../tools/needs.ts';
import { runScript, testDriver } from './_matrix.ts';

await testDriver({
  name: 'ruby-pg',
  run: (house) => runScript(house, [ruby], 'with_ruby_pg.rb'),
  without: { 'many connections': 'it has no pool' },
  also: { prepared: [23, 'next', 42] },
});
