-- Who owns a taken task, as clients over the wire see it.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local queue = support.queue()
local eventually, fails = support.eventually, support.fails
local count = 0

local function new(kind, opts)
    count = count + 1
    return queue.create_tube('tube' .. count, kind or 'fifottl', opts)
end

local function call(client, tube, method, ...)
    return client:call(('queue.tube.%s:%s'):format(tube.name, method), {...})
end

local function taken(tube)
    return queue.statistics(tube.name).tasks.taken
end

support.run('sessions', {

{'the tasks of a connection that ends are ready at once, and waiters hear of it', function(t)
    t:plan(4)
    local one, two = new('fifo'), new('fifottl')
    local client = support.client()
    for _, tube in ipairs{one, two} do
        for i = 1, 20 do
            tube:put(i)
            call(client, tube, 'take', 0)
        end
    end
    t:is(taken(one) + taken(two), 40, 'taken')
    local waiter = support.background(two.take, two, 100)
    client:close()
    t:is(select(2, waiter())[1], 0, 'a waiter gets one')
    t:ok(eventually(function() return taken(one) == 0 and taken(two) == 1 end), 'the others are ready')
    t:is(#box.space._queue_leases:select{one.tube_id}, 0, 'and free')
end},

{'another connection may not ack, release or touch', function(t)
    t:plan(5)
    local tube = new()
    local a, b = support.client(), support.client()
    tube:put('x')
    call(a, tube, 'take', 0)
    for _, method in ipairs{'ack', 'release', 'touch'} do
        fails(t, 'Task was not taken', method, call, b, tube, method, 0, 1)
    end
    local _, failure = pcall(call, b, tube, 'ack', 0)
    t:ok(failure.code == 32 or failure.type == 'LuajitError', 'code 32 on the wire')
    t:is(call(a, tube, 'ack', 0)[2], '-', 'the owner may')
    a:close()
    b:close()
end},

{'connections that share a session share its tasks, until the last one ends', function(t)
    t:plan(7)
    local tube = new()
    local a, b = support.client(), support.client()
    local id = a:call('queue.identify')
    t:is(#id, 16, '16 bytes')
    t:is(a:call('queue.identify'), id, 'the same each time')
    t:isnt(b:call('queue.identify'), id, 'another for another')
    t:is(b:call('queue.identify', {id}), id, 'until it joins')
    tube:put('x')
    tube:put('y')
    call(a, tube, 'take', 0)
    call(a, tube, 'take', 0)
    a:close()
    fiber.sleep(0.03)
    t:is(call(b, tube, 'ack', 0)[2], '-', 'it acks what the other took')
    t:is(taken(tube), 1, 'still taken')
    b:close()
    t:ok(eventually(function() return taken(tube) == 0 end), 'released with the last')
end},

{'an unknown or malformed session is refused', function(t)
    t:plan(3)
    fails(t, 'Invalid UUID format.', 'malformed', queue.identify, 'no uuid')
    fails(t, 'The UUID 01020304-0506-0708-090a-0b0c0d0e0f10 is unknown.', 'unknown', queue.identify,
        '\4\3\2\1\6\5\8\7\9\10\11\12\13\14\15\16')
    local client = support.client()
    local id = client:call('queue.identify')
    client:close()
    fiber.sleep(0.05)
    t:ok(not pcall(queue.identify, id), 'one that has ended')
end},

{'whoever joins another session gives back what he held', function(t)
    t:plan(2)
    local tube = new()
    local a, b = support.client(), support.client()
    tube:put('x')
    call(b, tube, 'take', 0)
    b:call('queue.identify', {a:call('queue.identify')})
    t:is(taken(tube), 0, 'given back')
    fails(t, 'Task was not taken', 'not his', call, b, tube, 'ack', 0)
    a:close()
    b:close()
end},

{'with cfg.ttr a session outlives its connections by so long', function(t)
    t:plan(5)
    queue.cfg{ttr = 0.3}
    local tube = new()
    local a = support.client()
    local id = a:call('queue.identify')
    tube:put('x')
    tube:put('y')
    call(a, tube, 'take', 0)
    call(a, tube, 'take', 0)
    a:close()
    fiber.sleep(0.05)
    t:is(taken(tube), 2, 'still taken')
    local b = support.client()
    t:is(b:call('queue.identify', {id}), id, 'back in time')
    fiber.sleep(0.3)
    t:is(call(b, tube, 'ack', 0)[2], '-', 'its tasks are its own')
    b:close()
    t:ok(eventually(function() return taken(tube) == 0 end), 'not back in time: released')
    t:ok(not pcall(queue.identify, id), 'and forgotten')
    queue.cfg{ttr = 0}
end},

{'a waiter whose client has gone takes nothing', function(t)
    t:plan(4)
    local tube = new()
    local client = support.client()
    local ended
    fiber.create(function()
        pcall(call, client, tube, 'take', 100)
        ended = true
    end)
    t:ok(eventually(function() return #tube.waiters == 1 end), 'waits')
    client:close()
    t:ok(eventually(function() return ended and #tube.waiters == 0 end), 'leaves')
    tube:put('x')
    t:is(taken(tube), 0, 'without a task')
    t:is(tube:take(0)[3], 'x', 'which is for others')
end},

{'a put in the very moment of the disconnect is not lost', function(t)
    t:plan(2)
    local tube = new()
    local lost = 0
    for i = 1, 30 do
        local client = support.client()
        fiber.create(function() pcall(call, client, tube, 'take', 100) end)
        eventually(function() return #tube.waiters == 1 end)
        local other = support.background(tube.take, tube, 101)
        client:close()
        if i % 2 == 0 then
            fiber.sleep(0)
        end
        tube:put(i)
        local _, task = other()
        lost = lost + (task == nil and 1 or 0)
        if task ~= nil then
            tube:delete(task[1])
        end
    end
    t:is(lost, 0, 'lost')
    t:is(queue.statistics(tube.name).tasks.total, 0, 'left')
end},

{'a waiter that is woken and loses its client before it runs hands the task on', function(t)
    t:plan(2)
    local tube = new()
    local connection
    local first = support.background(function()
        connection = box.session.id()
        return tube:take(100)
    end)
    local second = support.background(tube.take, tube, 101)
    tube:put('x')
    tube.waiters:dismiss(connection)
    t:is(select(2, second())[3], 'x', 'to the next')
    t:is(select(2, first()), nil, 'and takes nothing')
end},

{'a request that starts after its client has gone takes nothing', function(t)
    t:plan(2)
    local tube = new()
    local gate = fiber.cond()
    local result = 'none'
    function _G.late()
        gate:wait()
        result = tube:take(0)
    end
    tube:put('x')
    local client = support.client()
    fiber.create(function() pcall(client.call, client, 'late') end)
    fiber.sleep(0.02)
    client:close()
    fiber.sleep(0.02)
    gate:signal()
    t:ok(eventually(function() return result == nil end), 'nothing')
    t:is(taken(tube), 0, 'taken')
end},

{'a function with setuid needs no rights on the spaces, and the session is its caller\'s', function(t)
    t:plan(6)
    local tube = new('fifottl', {ttr = 60})
    box.schema.user.create('poor', {password = 'p'})
    for name, method in pairs{verb_take = 'take', verb_ack = 'ack'} do
        _G[name] = function(arg) return tube[method](tube, arg) end
        box.schema.func.create(name, {setuid = true})
        box.schema.user.grant('poor', 'execute', 'function', name)
    end
    local a, b = support.client('poor', 'p'), support.client('poor', 'p')
    fails(t, ("Execute access to function 'queue.tube.%s:take' is denied for user 'poor'"):format(tube.name),
        'no right to the tube', call, a, tube, 'take', 0)
    local answer = support.background(a.call, a, 'verb_take', {2})
    fiber.sleep(0.02)
    tube:put('x')
    t:is(select(2, answer())[3], 'x', 'waits and takes')
    fails(t, 'Task was not taken', 'not for another connection', b.call, b, 'verb_ack', {0})
    t:is(a:call('verb_ack', {0})[2], '-', 'acks')
    tube:put('y')
    a:call('verb_take', {0})
    t:is(taken(tube), 1, 'taken')
    a:close()
    t:ok(eventually(function() return taken(tube) == 0 end), 'released at the disconnect')
    b:close()
end},

{'grant lets a user work a tube', function(t)
    t:plan(8)
    local tube = new()
    box.schema.user.create('worker', {password = 'w'})
    tube:grant('worker', {call = true})
    local client = support.client('worker', 'w')
    t:is(call(client, tube, 'put', 'x')[2], 'r', 'put')
    t:is(call(client, tube, 'take', 0)[2], 't', 'take')
    t:is(call(client, tube, 'release', 0)[2], 'r', 'release')
    t:is(call(client, tube, 'take', 0)[2], 't', 'take')
    t:is(call(client, tube, 'ack', 0)[2], '-', 'ack')
    t:is(#client:call('queue.identify'), 16, 'identify')
    t:ok(not pcall(call, client, tube, 'truncate'), 'truncate only')
    tube:grant('worker', {truncate = true})
    t:ok(pcall(call, client, tube, 'truncate'), 'when granted')
    client:close()
end},

})
