# DBD::Pg: what every driver does (see _matrix.ts).
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types :async);
use JSON::PP;

binmode STDOUT, ':utf8';
$| = 1;
my $json = JSON::PP->new->canonical;
sub say_it { my ($check, $value) = @_; print $json->encode({ check => $check, value => $value }), "\n" }

my $values = JSON::PP->new->utf8->decode($ENV{DRIVER_VALUES});
sub open_it { return DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1 }) }
my $dbh = open_it();
my ($who) = $dbh->selectrow_array('select current_user');
say_it('connect', substr($who, 0, 8) . ' over ' . (defined $dbh->{pg_socket} && $ENV{PGSSLMODE} eq 'verify-full' ? 'TLS' : 'nothing'));

my @names = qw(small whole big num word bytes at uid doc list words yes nothing);
my @sent = (-7, 2147483647, $values->{big}, $values->{num}, $values->{word}, pack('H*', '00ff107f80'), $values->{at},
  $values->{uid}, $values->{doc}, [1, undef, 3], ['a,b', '"q"', undef, 'ü'], 1, undef);
my $insert = $dbh->prepare('insert into driver_values (' . join(', ', @names) . ') values (' . join(', ', ('?') x @names) . ')');
$insert->bind_param(6, $sent[5], { pg_type => PG_BYTEA });
$insert->bind_param(12, 1, { pg_type => PG_BOOL });
for my $i (grep { $_ != 6 && $_ != 12 } 1 .. @names) { $insert->bind_param($i, $sent[$i - 1]) }
$insert->execute;
my $select = $dbh->prepare('select ' . join(', ', @names) . ' from driver_values');
$select->execute;
my @back = @{ $select->fetchrow_arrayref };
$_ = defined $_ && !ref $_ ? "$_" : $_ for @back;
$back[6] = $values->{at} if $back[6] eq '2026-11-22 13:14:15.123456+00';
my $read = $json->encode([map { ref $_ ? [map { defined $_ ? "$_" : undef } @$_] : $_ } @back]);
my $wanted = $json->encode([map { ref $_ ? [map { defined $_ ? "$_" : undef } @$_] : defined $_ ? "$_" : undef } @sent]);
say_it('parameters', $read eq $wanted ? 'as sent' : $read);

my $row = $dbh->prepare('insert into driver_rows values (?, ?)');
$row->execute_array({}, [0 .. 499], [map { "row $_" } 0 .. 499]);
say_it('batch', 0 + $dbh->selectrow_array('select count(*) from driver_rows'));

$dbh->do('copy driver_copies from stdin');
$dbh->pg_putcopydata("$_\tü $_\n") for 0 .. 999;
$dbh->pg_putcopyend;
say_it('copy in', 0 + $dbh->selectrow_array('select count(*) from driver_copies'));
$dbh->do('copy driver_copies to stdout');
my ($line, $lines) = ('', 0);
$lines++ while $dbh->pg_getcopydata($line) >= 0;
say_it('copy out', $lines);

$dbh->do('select pg_sleep(60)', { pg_async => PG_ASYNC });
select undef, undef, undef, 1;
$dbh->pg_cancel;
say_it('cancel', $dbh->state);

my $other = open_it();
$other->do('listen driver_news');
$dbh->do("select pg_notify('driver_news', ?)", undef, 'Grüße');
my $waiting = '';
vec($waiting, $other->{pg_socket}, 1) = 1;
select($waiting, undef, undef, 30);
my $news = $other->pg_notifies;
say_it('notification', [$news->[0], $news->[2]]);
$other->disconnect;

sub note { $dbh->do('insert into driver_notes (word) values (?)', undef, @_) }
$dbh->begin_work; note('committed'); $dbh->commit;
$dbh->begin_work; note('rolled back'); $dbh->rollback;
$dbh->begin_work;
note('before the savepoint');
$dbh->pg_savepoint('here');
note('behind the savepoint');
eval { $dbh->do('select 1/0') };
$dbh->pg_rollback_to('here');
note('after the error');
$dbh->commit;
say_it('transaction', $dbh->selectcol_arrayref('select word from driver_notes order by n'));

my @states;
for my $text ('select 1/0', 'insert into driver_rows values (1)') { eval { $dbh->do($text) }; push @states, $dbh->state }
say_it('errors of the server', \@states);
eval { $dbh->selectrow_array('select word from driver_secrets where id = ?', undef, 1) };
my ($hint) = $@ =~ /^HINT:\s+(.*?)(?: at .*)?$/m;
say_it('refused', [$dbh->state, $hint]);
@states = ();
$dbh->begin_work;
for my $text ('select * from driver_secrets', 'select 1') { eval { $dbh->do($text) }; push @states, $dbh->state }
$dbh->rollback;
$dbh->do('select 1');
say_it('refused in a transaction', [@states, 'usable after rollback']);

$dbh->begin_work;
$dbh->do('declare portions cursor for select n::int8 as n from generate_series(1, 200000) n');
my ($count, $sum) = (0, 0);
while (1) {
  my $portion = $dbh->selectcol_arrayref('fetch 20000 from portions');
  last unless @$portion;
  $count += @$portion;
  $sum += $_ for @$portion;
}
$dbh->commit;
say_it('big result', [$count, $sum]);

# What tools list through DBI.
my $columns = $dbh->column_info(undef, 'public', 'driver_values', '%')->fetchall_arrayref;
my @key = $dbh->primary_key(undef, 'public', 'driver_rows');
my $foreign = $dbh->foreign_key_info(undef, 'public', 'customers', undef, 'public', 'orders')->fetchall_arrayref;
my @tables = $dbh->tables(undef, 'public', 'driver_%', 'TABLE');
my $types = $dbh->type_info_all;
say_it('catalogue', [scalar @$columns, @key, scalar @$foreign, scalar @tables, $dbh->ping > 0 ? 1 : 0]);
$dbh->disconnect;
