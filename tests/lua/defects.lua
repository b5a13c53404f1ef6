-- Two defects of the queue rock that this module must not have, and the states of an instance.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local queue = support.queue{memtx_memory = 32 * 1024 * 1024, slab_alloc_factor = 1.1}
local eventually = support.eventually

local function fill(space)
    collectgarbage()    -- what is freed later would make room again
    collectgarbage()
    local size = 1000000
    local id = 0
    while size > 0 do
        if pcall(space.insert, space, {id, string.rep('x', size)}) then
            id = id + 1
        else
            size = math.floor(size * 0.96)     -- every slab class
        end
    end
end

local function drain(space)
    local row = space.index.id:min()
    while row ~= nil do
        space:delete(row[1])
        row = space.index.id:min()
    end
    collectgarbage()    -- a tuple that Lua still knows keeps its memory
    collectgarbage()
end

support.run('defects', {

{'A: after a truncate, or a truncate of the space, the other tasks of a session are released', function(t)
    t:plan(3)
    local first, emptied, last = unpack({'a', 'b', 'c'})
    local client = support.client()
    for _, name in ipairs{first, emptied, last} do
        queue.create_tube(name, 'fifottl')
        for i = 1, 3 do
            queue.tube[name]:put(i)
            client:call(('queue.tube.%s:take'):format(name), {0})
        end
    end
    queue.tube[first]:truncate()
    box.space[emptied]:truncate()
    client:close()
    t:ok(eventually(function() return queue.statistics(last).tasks.taken == 0 end), 'released')
    t:is(queue.statistics(last).tasks.ready, 3, 'ready')
    t:is(box.space._queue_leases:len(), 0, 'nothing is held')
end},

{'B: full memory ends neither the watcher nor the release at a disconnect', function(t)
    t:plan(7)
    local tube = queue.create_tube('full', 'fifottl')
    local body = string.rep('y', 3000)
    for _ = 1, 100 do
        tube:put(body, {ttr = 1})
    end
    local plain = queue.create_tube('plain', 'fifo')
    local client = support.client()
    for _ = 1, 50 do
        plain:put(body)
        client:call('queue.tube.plain:take', {0})
        tube:take(0)
        client:call('queue.tube.full:take', {0})
    end
    local ballast = box.schema.space.create('ballast')
    ballast:create_index('id')
    fill(ballast)
    client:close()
    fiber.sleep(1.1)
    t:is(queue.statistics('full').tasks.taken, 100, 'memory is so full that no task can be given back')
    t:ok(not pcall(tube.put, tube, body), 'nor put')
    drain(ballast)
    t:ok(eventually(function() return queue.statistics('full').tasks.taken == 0 end), 'with memory all are given back')
    t:ok(eventually(function() return queue.statistics('plain').tasks.taken == 0 end), 'those of a lost client too')
    t:is(box.space._queue_leases:len(), 0, 'nothing is held')
    tube:truncate()
    tube.raw:stop()
    for _ = 1, 10 do
        tube:put(body, {delay = 0.1})
        tube:put(body, {ttl = 0.1})
    end
    fill(ballast)
    fiber.sleep(0.1)
    tube.raw:start()
    t:ok(eventually(function() return queue.statistics('full').tasks.total == 10 end), 'dead ones go although it is full')
    drain(ballast)
    t:ok(eventually(function() return queue.statistics('full').tasks.ready == 10 end), 'and with memory delays end')
end},

{'a read-only instance sends its waiters away and answers nil; writable again it starts anew', function(t)
    t:plan(10)
    local tube = queue.create_tube('states', 'fifottl')
    tube:put('x')
    tube:take(0)
    local waiter = support.background(tube.take, tube, 100)
    box.cfg{read_only = true}
    t:ok(eventually(function() return queue.state() == 'WAITING' end), 'WAITING')
    local ok, task = waiter()
    t:ok(ok and task == nil, 'the waiter has gone')
    t:is(tube:put('y'), nil, 'put')
    t:is(tube:take(), nil, 'take')
    t:is(tube:ack(0), nil, 'ack')
    t:is(queue.create_tube('no', 'fifo'), nil, 'create_tube')
    box.cfg{read_only = false}
    t:ok(eventually(function() return queue.state() == 'RUNNING' end), 'RUNNING')
    t:is(tube:peek(0)[2], 'r', 'what was taken is ready')
    support.fails(t, 'Task was not taken', 'and not ours', tube.ack, tube, 0)
    tube:put('z', {delay = 0.01, pri = -1})
    fiber.sleep(0.05)
    t:is(tube:take(2)[3], 'z', 'the watcher lives')
end},

})
