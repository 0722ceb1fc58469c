<?php
// PHP pdo_pgsql: what every driver does (see _matrix.ts). PDO makes prepared statements on the server.
function tell(string $check, mixed $value): void {
  echo json_encode(['check' => $check, 'value' => $value], JSON_UNESCAPED_UNICODE), "\n";
}

$values = json_decode(getenv('DRIVER_VALUES'), true);
function open_it(array $more = []): PDO {
  $dsn = sprintf('pgsql:host=%s;port=%s;dbname=%s;sslmode=verify-full;sslrootcert=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), getenv('DRIVER_CA'));
  return new PDO($dsn, getenv('PGUSER'), getenv('PGPASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, ...$more]);
}
$db = open_it();
$who = $db->query('select current_user')->fetchColumn();
tell('connect', substr($who, 0, 8) . ' over TLS');

$names = ['small', 'whole', 'big', 'num', 'word', 'bytes', 'at', 'uid', 'doc', 'list', 'words', 'yes', 'nothing'];
$columns = implode(', ', $names);
$insert = $db->prepare("insert into driver_values ($columns) values (" . implode(', ', array_fill(0, count($names), '?')) . ')');
$sent = [-7, 2147483647, 9007199254740993, ...array_map(fn ($name) => $values[$name], ['num', 'word', 'bytes', 'at', 'uid', 'doc', 'list', 'words']), true, null];
foreach ($sent as $i => $value) {
  $type = is_int($value) ? PDO::PARAM_INT : (is_bool($value) ? PDO::PARAM_BOOL : (is_null($value) ? PDO::PARAM_NULL : PDO::PARAM_STR));
  if ($names[$i] === 'bytes') $insert->bindValue($i + 1, hex2bin(substr($value, 2)), PDO::PARAM_LOB);
  else $insert->bindValue($i + 1, $value, $type);
}
$insert->execute();
$back = $db->query("select $columns from driver_values")->fetch(PDO::FETCH_NUM);
$back[5] = '\x' . bin2hex(stream_get_contents($back[5]));
tell('parameters', $back === $sent ? 'as sent' : $back);

$row = $db->prepare('insert into driver_rows values (:n, :word)');
$db->beginTransaction();
for ($n = 0; $n < 500; $n++) $row->execute(['n' => $n, 'word' => "row $n"]);
$db->commit();
tell('batch', (int) $db->query('select count(*) from driver_rows')->fetchColumn());

$db->pgsqlCopyFromArray('driver_copies', array_map(fn ($n) => "$n\tü $n\n", range(0, 999)));
tell('copy in', (int) $db->query('select count(*) from driver_copies')->fetchColumn());
tell('copy out', count($db->pgsqlCopyToArray('driver_copies')));

$other = open_it();
$other->exec('listen driver_news');
$db->prepare("select pg_notify('driver_news', ?)")->execute(['Grüße']);
$news = $other->pgsqlGetNotify(PDO::FETCH_ASSOC, 30000);
tell('notification', [$news['message'], $news['payload']]);
$other = null;

$note = fn ($word) => $db->prepare('insert into driver_notes (word) values (?)')->execute([$word]);
$db->beginTransaction(); $note('committed'); $db->commit();
$db->beginTransaction(); $note('rolled back'); $db->rollBack();
$db->beginTransaction();
$note('before the savepoint');
$db->exec('savepoint here');
$note('behind the savepoint');
try { $db->exec('select 1/0'); } catch (PDOException) { $db->exec('rollback to here'); }
$note('after the error');
$db->commit();
tell('transaction', $db->query('select word from driver_notes order by n')->fetchAll(PDO::FETCH_COLUMN));

$state = function (string $text) use ($db): array {
  try { $db->query($text); return ['none', '']; } catch (PDOException $error) { return [$error->getCode(), $error->getMessage()]; }
};
tell('errors of the server', [$state('select 1/0')[0], $state('insert into driver_rows values (1)')[0]]);
[$code, $message] = $state('select word from driver_secrets where id = 1');
tell('refused', [$code, preg_match('/^HINT: +(.*)$/m', $message, $hint) ? $hint[1] : $message]);
$db->beginTransaction();
$codes = [$state('select * from driver_secrets')[0], $state('select 1')[0]];
$db->rollBack();
$db->query('select 1');
tell('refused in a transaction', [...$codes, 'usable after rollback']);

$db->beginTransaction();
$portions = $db->prepare('select n::int8 as n from generate_series(1, 200000) n', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
$portions->execute();
[$count, $sum] = [0, 0];
while (($n = $portions->fetchColumn()) !== false) { $count++; $sum += $n; if ($count === 2000) break; }
$portions->closeCursor();
$db->commit();
tell('scrolled', [$count, $sum]);
[$count, $sum] = [0, 0];
foreach ($db->query('select n::int8 as n from generate_series(1, 200000) n', PDO::FETCH_NUM) as [$n]) { $count++; $sum += $n; }
tell('big result', [$count, $sum]);

// With the values put into the text, as many frameworks set it.
$plain = open_it([PDO::ATTR_EMULATE_PREPARES => true]);
$asked = $plain->prepare('select ?::text, ?::int');
$asked->execute(["it's", 4]);
tell('emulated', $asked->fetch(PDO::FETCH_NUM));
$meta = $db->query('select id, status from orders limit 1');
tell('catalogue', [$meta->getColumnMeta(0)['native_type'], $meta->getColumnMeta(1)['table']]);
