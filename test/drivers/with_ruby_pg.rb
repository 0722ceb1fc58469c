# ruby-pg: what every driver does (see _matrix.ts), with the types of its type maps.
require 'json'
require 'pg'

$stdout.sync = true
def tell(check, value) = puts(JSON.generate({ check: check, value: value }))

values = JSON.parse(ENV.fetch('DRIVER_VALUES'))
# libpq's environment names the gateway.
def open_it = PG.connect(client_encoding: 'UTF8')
db = open_it
who = db.exec('select current_user').getvalue(0, 0)
tell 'connect', "#{who[0, 8]} over #{db.ssl_in_use? ? 'TLS' : 'nothing'}"

db.type_map_for_queries = PG::BasicTypeMapForQueries.new(db)
db.type_map_for_results = PG::BasicTypeMapForResults.new(db)
names = %w[small whole big num word bytes at uid doc list words yes nothing]
sent = [
  -7, 2147483647, values['big'].to_i, BigDecimal(values['num']), values['word'],
  PG::BasicTypeMapForQueries::BinaryData.new(['00ff107f80'].pack('H*')), Time.utc(2026, 11, 22, 13, 14, Rational(15_123_456, 1_000_000)),
  values['uid'], values['doc'], [1, nil, 3], ['a,b', '"q"', nil, 'ü'], true, nil
]
places = (1..names.size).map { |n| "$#{n}" }.join(', ')
db.exec_params("insert into driver_values (#{names.join(', ')}) values (#{places})", sent)
back = db.exec("select #{names.join(', ')} from driver_values").values.first
wanted = sent.dup
wanted[8] = JSON.parse(values['doc'])
back[8] = JSON.parse(back[8]) if back[8].is_a?(String)
tell 'parameters', back == wanted ? 'as sent' : back.inspect

db.type_map_for_queries = PG::TypeMapAllStrings.new
db.enter_pipeline_mode
500.times { |n| db.send_query_params('insert into driver_rows values ($1, $2)', [n, "row #{n}"]) }
db.pipeline_sync
loop do
  result = db.get_result
  next if result.nil?
  break if result.result_status == PG::PGRES_PIPELINE_SYNC
  result.check
end
db.exit_pipeline_mode
tell 'batch', db.exec('select count(*) from driver_rows').getvalue(0, 0)

db.copy_data('copy driver_copies from stdin', PG::TextEncoder::CopyRow.new) { 1000.times { |n| db.put_copy_data([n.to_s, "ü #{n}"]) } }
tell 'copy in', db.exec('select count(*) from driver_copies').getvalue(0, 0)
lines = 0
db.copy_data('copy driver_copies to stdout') { lines += 1 while db.get_copy_data }
tell 'copy out', lines

sleeping = Thread.new do
  db.exec('select pg_sleep(60)')
rescue PG::QueryCanceled => e
  tell 'cancel', e.result.error_field(PG::PG_DIAG_SQLSTATE)
end
# Again and again: the first may come before the statement has begun.
db.cancel until sleeping.join(0.3)

other = open_it
other.exec('listen driver_news')
db.exec_params("select pg_notify('driver_news', $1)", ['Grüße'])
other.wait_for_notify(30) { |channel, _, payload| tell 'notification', [channel, payload] }
other.close

note = ->(word) { db.exec_params('insert into driver_notes (word) values ($1)', [word]) }
db.transaction { note['committed'] }
begin
  db.transaction { note['rolled back']; raise 'no' }
rescue RuntimeError
  nil
end
db.transaction do
  note['before the savepoint']
  db.exec('savepoint here')
  begin
    note['behind the savepoint']
    db.exec('select 1/0')
  rescue PG::DivisionByZero
    db.exec('rollback to here')
  end
  note['after the error']
end
tell 'transaction', db.exec('select word from driver_notes order by n').column_values(0)

state = lambda do |text, parameters = []|
  db.exec_params(text, parameters)
rescue PG::Error => e
  e.result
end
code = ->(result) { result.error_field(PG::PG_DIAG_SQLSTATE) }
tell 'errors of the server', ['select 1/0', 'insert into driver_rows values (1)'].map { |text| code[state[text]] }
refused = state['select word from driver_secrets where id = $1', [1]]
tell 'refused', [code[refused], refused.error_field(PG::PG_DIAG_MESSAGE_HINT)]
db.exec('begin')
codes = ['select * from driver_secrets', 'select 1'].map { |text| code[state[text]] }
db.exec('rollback')
db.exec('select 1')
tell 'refused in a transaction', [*codes, 'usable after rollback']

# Row by row, as the rows come.
count = sum = 0
db.send_query('select n::int8 as n from generate_series(1, 200000) n')
db.set_single_row_mode
db.get_result.stream_each_row { |(n)| count += 1; sum += n }
tell 'big result', [count, sum]

# A named statement, and both of its descriptions.
db.prepare('plus', 'select $1::int4 + 1 as next')
described = db.describe_prepared('plus')
tell 'prepared', [described.paramtype(0), described.fname(0), db.exec_prepared('plus', [41]).getvalue(0, 0)]
db.close
