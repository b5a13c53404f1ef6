-- The contract that the bundled module and the queue rock share: sessions, grants and restarts, as clients over the wire
-- see them. Run against both.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local me = require('fio').abspath(arg[0])
if os.getenv('QUEUE_TEST_LIFE') == nil then
    os.execute(('QUEUE_TEST_LIFE=first QUEUE_TEST_DIR=%s tarantool %s'):format(support.dir, me))
    os.exit(os.execute(('QUEUE_TEST_LIFE=second QUEUE_TEST_DIR=%s tarantool %s'):format(support.dir, me)) == 0 and 0 or 1)
elseif os.getenv('QUEUE_TEST_LIFE') == 'first' then
    local queue = support.queue()
    for _, kind in ipairs{'fifo', 'fifottl'} do
        local tube = queue.create_tube('old_' .. kind, kind)
        for i = 1, 5 do
            tube:put(i)
        end
        tube:take(0)
        tube:take(0)
        tube:ack(0)
        tube:bury(4)
    end
    queue.tube.old_fifottl:put('late', {delay = 600})
    os.execute('kill -9 ' .. require('tarantool').pid())
    fiber.sleep(10)
end

local queue = support.queue()
local fails, background, eventually = support.fails, support.background, support.eventually
local restarted = queue.statistics()
local count, laws = 0, {}

local function both(name, body)
    for _, kind in ipairs{'fifo', 'fifottl'} do
        table.insert(laws, {('%s (%s)'):format(name, kind), function(t)
            count = count + 1
            body(t, queue.create_tube('tube' .. count, kind), kind)
        end})
    end
end

local function call(client, tube, method, ...)
    return client:call(('queue.tube.%s:%s'):format(tube.name, method), {...})
end

local function all_ready(tube)
    return function() return queue.statistics(tube.name).tasks.taken == 0 end
end

both('after a restart every taken task is ready, and counters start anew', function(t, _, kind)
    t:plan(4)
    local shown = restarted['old_' .. kind]
    t:is(shown.tasks.taken, 0, 'none is taken')
    t:is(shown.tasks.ready, 3, 'ready')
    t:is(shown.tasks.buried, 1, 'buried')
    t:is(shown.calls.put + shown.tasks.done, 0, 'counters')
end)

both('ack, release and touch are refused to another session', function(t, tube, kind)
    t:plan(5)
    local a, b = support.client(), support.client()
    tube:put('x')
    t:is(call(a, tube, 'take', 0)[2], 't', 'taken')
    fails(t, 'Task was not taken', 'ack', call, b, tube, 'ack', 0)
    fails(t, 'Task was not taken', 'release', call, b, tube, 'release', 0)
    if kind == 'fifottl' then
        fails(t, 'Task was not taken', 'touch', call, b, tube, 'touch', 0, 1)
    else
        t:ok(not pcall(call, b, tube, 'touch', 0, 1), 'touch')
    end
    t:is(call(a, tube, 'ack', 0)[2], '-', 'its own may')
    a:close()
    b:close()
end)

both('an error has code 32', function(t, tube)
    t:plan(2)
    local client = support.client()
    local ok, failure = pcall(call, client, tube, 'ack', 0)
    t:ok(not ok, 'error')
    -- net.box of Tarantool 2.4 and later shows what came beside the code instead
    t:ok(failure.code == 32 or failure.type == 'LuajitError', 'code')
    client:close()
end)

both('bury and delete are allowed to another session', function(t, tube)
    t:plan(3)
    local a, b = support.client(), support.client()
    tube:put('x')
    call(a, tube, 'take', 0)
    t:is(call(b, tube, 'bury', 0)[2], '!', 'bury')
    tube:kick()
    call(a, tube, 'take', 0)
    t:is(call(b, tube, 'delete', 0)[2], '-', 'delete')
    fails(t, 'Task was not taken', 'then it is nobody\'s', call, a, tube, 'ack', 0)
    a:close()
    b:close()
end)

both('identify answers the connection\'s session of 16 bytes, or joins another', function(t, tube)
    t:plan(6)
    local a, b = support.client(), support.client()
    local session = a:call('queue.identify')
    t:is(#session, 16, '16 bytes')
    t:is(a:call('queue.identify'), session, 'always the same')
    t:ok(b:call('queue.identify') ~= session, 'another\'s is another')
    t:is(b:call('queue.identify', {session}), session, 'joined')
    tube:put('x')
    call(a, tube, 'take', 0)
    a:close()
    fiber.sleep(0.05)
    t:is(tube:peek(0)[2], 't', 'one connection of it is left')
    t:is(call(b, tube, 'ack', 0)[2], '-', 'which may ack')
    b:close()
end)

both('identify refuses what is no uuid, or unknown', function(t)
    t:plan(2)
    local client = support.client()
    fails(t, 'Invalid UUID format.', 'no uuid', client.call, client, 'queue.identify', {'nonsense'})
    local _, failure = pcall(client.call, client, 'queue.identify', {('x'):rep(16)})
    t:like(tostring(failure), 'The UUID %S+ is unknown%.$', 'unknown')
    client:close()
end)

both('with ttr 0 a lost connection\'s tasks are ready at once, and a waiter is woken', function(t, tube)
    t:plan(3)
    local client = support.client()
    for i = 1, 3 do
        tube:put(i)
        call(client, tube, 'take', 0)
    end
    local waiter = background(tube.take, tube, 5)
    local start = fiber.clock()
    client:close()
    t:is(select(2, waiter())[2], 't', 'woken')
    t:ok(fiber.clock() - start < 1, 'at once')
    t:is(queue.statistics(tube.name).tasks.ready, 2, 'the others are ready')
end)

both('with a ttr they stay taken so long, for who comes back with the uuid', function(t, tube)
    t:plan(3)
    queue.cfg{ttr = 1}
    local client = support.client()
    tube:put('x')
    tube:put('y')
    local session = client:call('queue.identify')
    call(client, tube, 'take', 0)
    call(client, tube, 'take', 0)
    client:close()
    fiber.sleep(0.1)
    t:is(queue.statistics(tube.name).tasks.taken, 2, 'taken')
    client = support.client()
    client:call('queue.identify', {session})
    t:is(call(client, tube, 'ack', 0)[2], '-', 'back in time')
    client:close()
    t:ok(eventually(all_ready(tube)), 'not back in time')
    queue.cfg{ttr = 0}
end)

both('a waiter whose connection is lost takes nothing', function(t, tube)
    t:plan(1)
    local client = support.client()
    local waiter = background(call, client, tube, 'take', 100)
    fiber.sleep(0.05)
    client:close()
    waiter()
    fiber.sleep(0.05)
    tube:put('x')
    fiber.sleep(0.05)
    t:is(tube:peek(0)[2], 'r', 'ready')
end)

both('grant lets a user call the tube\'s functions, and with truncate that too', function(t, tube)
    t:plan(5)
    local user = 'user' .. count
    box.schema.user.create(user, {password = 'p'})
    local client = support.client(user, 'p')
    t:ok(not pcall(call, client, tube, 'put', 'x'), 'before it is refused')
    tube:grant(user, {call = true})
    t:is(call(client, tube, 'put', 'x')[2], 'r', 'put')
    t:is(call(client, tube, 'take', 0)[2], 't', 'take')
    t:is(call(client, tube, 'ack', 0)[2], '-', 'ack')
    tube:grant(user, {call = true, truncate = true})
    t:ok(pcall(call, client, tube, 'truncate'), 'truncate')
    client:close()
end)

support.run('contract: sessions', laws)
