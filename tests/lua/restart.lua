-- What a second life of the instance finds: this file runs itself again on the same data.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')

local me = require('fio').abspath(arg[0])
local life = os.getenv('QUEUE_TEST_LIFE')

if life == nil then
    local command = 'QUEUE_TEST_LIFE=%s QUEUE_TEST_DIR=%s tarantool %s'
    os.execute(command:format('first', support.dir, me))
    os.exit(os.execute(command:format('second', support.dir, me)) == 0 and 0 or 1)
end

if life == 'first' then
    local queue = support.queue()
    for _, kind in ipairs{'fifo', 'fifottl'} do
        local tube = queue.create_tube(kind, kind, kind == 'fifottl' and {ttr = 600, pri = 3} or {})
        for i = 0, 1500 do
            tube:put(i)
        end
        for _ = 0, 1200 do
            tube:take(0)
        end
        tube:bury(1500)
        tube:ack(0)
    end
    queue.tube.fifottl:put('late', {delay = 600})
    queue.create_tube('brief', 'fifo', {temporary = true}):put('x')
    queue.create_tube('gone', 'fifo'):drop()
    box.space._queue:insert{'strange', 100, 'strange', 'utube', {}}
    -- Killed, so that nothing is tidied up on the way out.
    os.execute('kill -9 ' .. require('tarantool').pid())
    require('fiber').sleep(10)
end

local queue = support.queue()
local immediately = {queue.state(), queue.statistics()}

support.run('restart', {

{'every taken task is ready, the others are what they were', function(t)
    t:plan(4)
    t:is(immediately[1], 'RUNNING', 'the first look finds it running')
    local shown = immediately[2]
    t:is_deeply(shown.fifo.tasks, {ready = 1499, taken = 0, buried = 1, delayed = 0, done = 0, total = 1500}, 'fifo')
    t:is_deeply(shown.fifottl.tasks, {ready = 1499, taken = 0, buried = 1, delayed = 1, done = 0, total = 1501},
        'fifottl')
    t:is(shown.fifo.calls.put, 0, 'counters start anew')
end},

{'tubes are there with their options, dropped ones are not', function(t)
    t:plan(4)
    t:is_deeply(queue.tube(), {'brief', 'fifo', 'fifottl'}, 'names')
    t:is(queue.tube.fifottl.opts.pri, 3, 'options')
    t:is(queue.tube.brief:take(0), nil, 'a temporary one is empty')
    t:is(box.space._queue:get{'strange'}[4], 'utube', 'another type is left alone')
end},

{'tasks are taken and acked as ever, nobody holds an old one', function(t)
    t:plan(4)
    t:is(box.space._queue_leases.temporary, true, 'leases are not kept')
    support.fails(t, 'Task was not taken', 'an old one', queue.tube.fifo.ack, queue.tube.fifo, 1)
    t:is(queue.tube.fifo:take(0)[1], 1, 'take')
    t:is(queue.tube.fifo:ack(1)[2], '-', 'ack')
end},

{'the clock goes on', function(t)
    t:plan(1)
    local tube = queue.tube.fifottl
    tube:truncate()
    tube:put('x', {delay = 0.02})
    t:is(tube:take(2)[3], 'x', 'delay')
end},

})
