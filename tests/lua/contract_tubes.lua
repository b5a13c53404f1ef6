-- The contract that the bundled module and the queue rock share, statement by statement, by public calls alone: the
-- module, tubes, tasks and their replies, as one client sees them. Run against both.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local fiber = require('fiber')

local early = require('queue')
local before = {state = early.state(), access = {pcall(function() return early.tube end)}}
local cfg_before = pcall(early.cfg, {ttr = 0})
local queue = support.queue()
local fails, background, eventually = support.fails, support.background, support.eventually
local count, laws = 0, {}

local function new(kind, opts)
    count = count + 1
    return queue.create_tube('tube' .. count, kind, opts)
end

local function law(name, body)
    table.insert(laws, {name, body})
end

local function both(name, body)
    for _, kind in ipairs{'fifo', 'fifottl'} do
        law(('%s (%s)'):format(name, kind), function(t) body(t, new(kind), kind) end)
    end
end

-- The module

law('before box.cfg: state INIT, cfg is kept for later, all else says what to do', function(t)
    t:plan(4)
    t:is(before.state, 'INIT', 'state')
    t:ok(cfg_before, 'cfg')
    t:is(before.access[1], false, 'refused')
    t:ok(before.access[2]:find('Please configure box.cfg{} in read/write mode first', 1, true), 'remedy')
end)

law('state() is RUNNING on a writable instance; _VERSION is text', function(t)
    t:plan(2)
    t:is(queue.state(), 'RUNNING', 'state')
    t:is(type(queue._VERSION), 'string', '_VERSION')
end)

law('tube.NAME is the tube, tube() the names, tube(n) whether there is one', function(t)
    t:plan(6)
    local one, two = new('fifo'), new('fifottl')
    t:is(queue.tube[one.name], one, 'tube.NAME')
    local names = {}
    for _, name in ipairs(queue.tube()) do
        names[name] = true
    end
    t:ok(names[one.name] and names[two.name], 'tube()')
    t:is(queue.tube(one.name), true, 'tube(n)')
    t:is(queue.tube('nobody'), false, 'tube(n) of none')
    t:is(queue.tube.nobody, nil, 'tube.NAME of none')
    fails(t, 'argument #1 should be string or nil', 'tube(1)', queue.tube, 1)
end)

law('cfg takes ttr and in_replicaset, and nothing else', function(t)
    t:plan(5)
    fails(t, 'Unknown option nonsense', 'unknown', queue.cfg, {nonsense = 1})
    fails(t, 'Invalid value of ttr: -1', 'ttr below 0', queue.cfg, {ttr = -1})
    fails(t, 'Invalid value of ttr: x', 'ttr not a number', queue.cfg, {ttr = 'x'})
    fails(t, 'Invalid value of in_replicaset: 1', 'in_replicaset', queue.cfg, {in_replicaset = 1})
    t:ok(pcall(queue.cfg, {ttr = 0, in_replicaset = false}), 'valid')
end)

law('an unknown type is refused', function(t)
    t:plan(1)
    local ok, failure = pcall(queue.create_tube, 'odd', 'nonsense')
    t:ok(not ok and failure:find('Unknown tube type nonsense', 1, true), 'and named')
end)

law('register_driver: functions create_space and new, a name once', function(t)
    t:plan(5)
    local half = {create_space = function() end}
    fails(t, 'tube control methods must contain functions "create_space" and "new"', 'half', queue.register_driver,
        'half', half)
    fails(t, 'overriding registered driver "fifo"', 'twice', queue.register_driver, 'fifo', queue.driver.fifo)
    queue.register_driver('mine', {create_space = queue.driver.fifo.create_space, new = queue.driver.fifo.new})
    local tube = new('mine')
    t:is(tube:put('x')[3], 'x', 'put')
    t:is(tube:take(0)[2], 't', 'take')
    t:is(tube:ack(0)[2], '-', 'ack')
end)

-- Tubes

both('a tube has name, type, tube_id, opts, raw; its space is named like it', function(t, tube, kind)
    t:plan(6)
    t:is(tube.name, 'tube' .. count, 'name')
    t:is(tube.type, kind, 'type')
    t:is(type(tube.tube_id), 'number', 'tube_id')
    t:is(type(tube.opts), 'table', 'opts')
    t:is(type(tube.raw), 'table', 'raw')
    t:ok(box.space[tube.name] ~= nil, 'space')
end)

both('a second tube of a name is an error, or with if_not_exists the first', function(t, tube, kind)
    t:plan(2)
    fails(t, ("Space '%s' already exists"):format(tube.name), 'error', queue.create_tube, tube.name, kind)
    t:is(queue.create_tube(tube.name, kind, {if_not_exists = true}), tube, 'if_not_exists')
end)

both('temporary tubes are in temporary spaces', function(t, _, kind)
    t:plan(2)
    t:is(box.space[new(kind, {temporary = true}).name].temporary, true, 'temporary')
    t:is(box.space[new(kind).name].temporary, false, 'not')
end)

both('the engine of a tube is chosen at its creation', function(t, _, kind)
    t:plan(3)
    local tube = new(kind, {engine = 'vinyl'})
    t:is(box.space[tube.name].engine, 'vinyl', 'engine')
    tube:put('x')
    t:is(tube:take(0)[3], 'x', 'take')
    t:is(tube:ack(0)[2], '-', 'ack')
end)

both('drop refuses with waiters or taken tasks, else the tube is gone', function(t, tube)
    t:plan(5)
    local waiter = background(tube.take, tube, 0.05)
    fails(t, 'There are consumers connected the tube', 'waiters', tube.drop, tube)
    waiter()
    tube:put('x')
    tube:take(0)
    fails(t, 'There are taken tasks in the tube', 'taken', tube.drop, tube)
    tube:ack(0)
    t:is(tube:drop(), true, 'dropped')
    t:is(queue.tube(tube.name), false, 'no tube')
    t:is(box.space[tube.name], nil, 'no space')
end)

both('truncate removes every task', function(t, tube)
    t:plan(2)
    tube:put(1)
    tube:put(2)
    tube:bury(1)
    tube:truncate()
    t:is(queue.statistics(tube.name).tasks.total, 0, 'none is left')
    t:is(tube:put(3)[1], 0, 'and ids start anew')
end)

-- Tasks: every reply is [id, state, data]

both('put answers [id, r, data]; any data is data', function(t, tube)
    t:plan(4)
    t:is_deeply(tube:put{a = {1, 'b'}}:totable(), {0, 'r', {a = {1, 'b'}}}, 'a table')
    t:is_deeply(tube:put('text'):totable(), {1, 'r', 'text'}, 'text')
    t:is_deeply(tube:put(7):totable(), {2, 'r', 7}, 'a number')
    t:is_deeply(tube:put(false):totable(), {3, 'r', false}, 'false')
end)

both('ids are the highest + 1, reused once the tube is empty', function(t, tube)
    t:plan(3)
    t:is(tube:put('a')[1], 0, '0')
    t:is(tube:put('b')[1], 1, '1')
    tube:delete(0)
    tube:delete(1)
    t:is(tube:put('c')[1], 0, 'reused')
end)

both('take answers [id, t, data], in the order of ids', function(t, tube)
    t:plan(3)
    for i = 1, 3 do
        tube:put(i)
    end
    for i = 1, 3 do
        t:is_deeply(tube:take(0):totable(), {i - 1, 't', i}, i)
    end
end)

both('take of an empty tube waits its seconds and answers nothing', function(t, tube)
    t:plan(3)
    t:is(tube:take(0), nil, '0')
    local start = fiber.clock()
    t:is(tube:take(0.05), nil, '0.05')
    t:ok(fiber.clock() - start >= 0.05, 'so long')
end)

both('take without a timeout waits for ever; a put wakes one waiter', function(t, tube)
    t:plan(3)
    local first, second = background(tube.take, tube), background(tube.take, tube)
    fiber.sleep(0.02)
    tube:put('x')
    fiber.sleep(0.02)
    t:is(queue.statistics(tube.name).tasks.taken, 1, 'one is taken')
    tube:put('y')
    local a, b = select(2, first()), select(2, second())
    t:ok(a ~= nil and b ~= nil, 'each waiter has one')
    t:is(queue.statistics(tube.name).tasks.taken, 2, 'both are taken')
end)

both('of two waiters the one with the earlier deadline is woken', function(t, tube)
    t:plan(1)
    local late, soon = background(tube.take, tube, 0.4), background(tube.take, tube, 0.3)
    tube:put('x')
    t:is(select(2, soon())[3], 'x', 'the earlier')
    late()
end)

both('ack removes the task and answers [id, -, data]', function(t, tube)
    t:plan(2)
    tube:put{body = 'x'}
    tube:take(0)
    t:is_deeply(tube:ack(0):totable(), {0, '-', {body = 'x'}}, 'reply')
    fails(t, 'Task 0 not found', 'gone', tube.peek, tube, 0)
end)

both('release answers [id, r, data], and the task is first again', function(t, tube)
    t:plan(2)
    tube:put('a')
    tube:put('b')
    tube:take(0)
    t:is_deeply(tube:release(0):totable(), {0, 'r', 'a'}, 'reply')
    t:is(tube:take(0)[1], 0, 'first')
end)

both('ack and release refuse what is not taken, or unknown', function(t, tube)
    t:plan(4)
    tube:put('x')
    for _, name in ipairs{'ack', 'release'} do
        fails(t, 'Task was not taken', name .. ' of a ready task', tube[name], tube, 0)
        fails(t, 'Task was not taken', name .. ' of none', tube[name], tube, 9)
    end
end)

both('an error\'s text has its file and line in front', function(t, tube)
    t:plan(1)
    local _, failure = pcall(tube.ack, tube, 0)
    t:like(tostring(failure), '%.lua:%d+: Task was not taken$', 'text')
end)

both('peek shows a task in any state, and fails for none', function(t, tube)
    t:plan(4)
    tube:put('x')
    t:is_deeply(tube:peek(0):totable(), {0, 'r', 'x'}, 'ready')
    tube:take(0)
    t:is_deeply(tube:peek(0):totable(), {0, 't', 'x'}, 'taken')
    tube:bury(0)
    t:is_deeply(tube:peek(0):totable(), {0, '!', 'x'}, 'buried')
    fails(t, 'Task 9 not found', 'none', tube.peek, tube, 9)
end)

both('bury and delete ask for no ownership, but for a task', function(t, tube)
    t:plan(5)
    tube:put('x')
    t:is_deeply(tube:bury(0):totable(), {0, '!', 'x'}, 'bury a ready task')
    t:is(tube:take(0), nil, 'it is not taken')
    t:is_deeply(tube:delete(0):totable(), {0, '-', 'x'}, 'delete it')
    fails(t, 'Task 9 not found', 'bury none', tube.bury, tube, 9)
    fails(t, 'Task 9 not found', 'delete none', tube.delete, tube, 9)
end)

both('a task that was buried while taken is nobody\'s', function(t, tube)
    t:plan(2)
    tube:put('x')
    tube:take(0)
    tube:bury(0)
    fails(t, 'Task was not taken', 'ack', tube.ack, tube, 0)
    t:is(tube:kick(), 1, 'kick')
end)

both('kick makes n buried tasks ready, one by default, and answers how many', function(t, tube)
    t:plan(4)
    for i = 0, 3 do
        tube:put(i)
        tube:bury(i)
    end
    t:is(tube:kick(), 1, 'default')
    t:is(tube:kick(2), 2, 'n')
    t:is(tube:kick(9), 1, 'no more than there are')
    t:is(queue.statistics(tube.name).tasks.ready, 4, 'ready')
end)

both('release_all makes every taken task ready', function(t, tube)
    t:plan(2)
    for i = 1, 3 do
        tube:put(i)
        tube:take(0)
    end
    tube:release_all()
    t:is(queue.statistics(tube.name).tasks.ready, 3, 'ready')
    fails(t, 'Task was not taken', 'nobody holds one', tube.ack, tube, 0)
end)

both('on_task_change returns the old callback; the new one hears each event', function(t, tube)
    t:plan(3)
    local heard = {}
    local function listen(task, event)
        table.insert(heard, event .. ' ' .. task[1])
    end
    t:is(type(tube:on_task_change(listen)), 'function', 'there is always an old one')
    tube:put('x')
    tube:take(0)
    tube:release(0)
    tube:bury(0)
    tube:kick()
    tube:take(0)
    tube:ack(0)
    tube:put('y')
    tube:delete(0)
    t:is_deeply(heard, {'put 0', 'take 0', 'release 0', 'bury 0', 'kick 0', 'take 0', 'delete 0', 'put 0', 'delete 0'},
        'an ack as a delete')
    t:is(tube:on_task_change(print), listen, 'the old one')
end)

both('on_task_change may be given at the creation', function(t, _, kind)
    t:plan(1)
    local heard = {}
    local tube = new(kind, {on_task_change = function(_, event) table.insert(heard, event) end})
    tube:put('x')
    t:is_deeply(heard, {'put'}, 'heard')
end)

both('statistics: tasks by state, done and total; calls by name', function(t, tube)
    t:plan(4)
    for i = 0, 5 do
        tube:put(i)
    end
    tube:delete(5)
    tube:take(0)
    tube:release(0)
    tube:take(0)
    tube:ack(0)
    tube:bury(1)
    tube:bury(2)
    tube:kick(1)
    tube:take(0)
    local shown = queue.statistics(tube.name)
    t:is_deeply(shown.tasks, {taken = 1, buried = 1, ready = 2, delayed = 0, done = 2, total = 4}, 'tasks')
    t:is_deeply(shown.calls, {put = 6, delete = 1, take = 3, release = 1, ack = 1, bury = 2, kick = 1, touch = 0,
        delay = 0, ttl = 0, ttr = 0}, 'calls')
    t:is_deeply(queue.statistics()[tube.name], shown, 'all tubes')
    t:is_deeply(queue.stats(tube.name), shown, 'by its other name')
end)

-- E10: the table of statistics, in each state that a tube can have.

-- One task or more in each state, two done: {state = number}.
local function in_every_state(tube, kind)
    for i = 0, 6 do
        tube:put(i)
    end
    tube:take(0)
    tube:ack(0)
    tube:delete(1)
    tube:bury(2)
    tube:take(0)
    if kind == 'fifottl' then
        tube:put('later', {delay = 100})
    end
    return {ready = 3, taken = 1, buried = 1, delayed = kind == 'fifottl' and 1 or 0, done = 2}
end

for _, engine in ipairs{'memtx', 'vinyl'} do
    both(('total is the sum of all tasks that there are, those that are done no longer (%s)'):format(engine),
        function(t, _, kind)
            t:plan(4)
            local tube = new(kind, {engine = engine})
            local expected = in_every_state(tube, kind)
            expected.total = 5 + expected.delayed
            t:is_deeply(queue.statistics(tube.name).tasks, expected, 'every state')
            tube:delete(2)
            expected.buried, expected.done, expected.total = 0, 3, expected.total - 1
            t:is_deeply(queue.statistics(tube.name).tasks, expected, 'one less')
            tube:release_all()
            tube:truncate()
            local none = {ready = 0, taken = 0, buried = 0, delayed = 0, done = 3, total = 0}
            t:is_deeply(queue.statistics(tube.name).tasks, none, 'truncated: done stays, total does not')
            tube:drop()
            tube = queue.create_tube(tube.name, kind, {engine = engine})
            none.done = 0
            t:is_deeply(queue.statistics(tube.name).tasks, none, 'a new tube of the name')
        end)
end

law('total has the done tasks that a driver keeps; done is how many it has ended since the start', function(t)
    t:plan(2)
    local fifo = queue.driver.fifo
    queue.register_driver('keeps', {create_space = fifo.create_space, new = function(space, ...)
        local driver = fifo.new(space, ...)
        function driver.delete(_, id)
            return space:update(id, {{'=', 2, '-'}})
        end
        return driver
    end})
    local tube = new('keeps')
    tube:put('x')
    tube:put('y')
    tube:take(0)
    tube:ack(0)
    local tasks = queue.statistics(tube.name).tasks
    t:is(tasks.total, 2, 'total')
    t:is(tasks.ready, 1, 'ready')
end)

law('fifo ignores the delay of a release, and refuses touch', function(t)
    t:plan(3)
    local tube = new('fifo')
    tube:put('x', {delay = 100, pri = 5, ttl = 0.001})
    tube:take(0)
    t:is(tube:release(0, {delay = 100})[2], 'r', 'release')
    tube:take(0)
    fails(t, 'fifo queue does not support touch', 'touch', tube.touch, tube, 0, 1)
    t:is(tube:touch(0), nil, 'touch by nothing is nothing')
end)

-- States

law('not RUNNING, data methods answer nil; writable again, what was taken is ready', function(t)
    t:plan(10)
    local tube = new('fifo')
    tube:put('x')
    tube:take(0)
    local function becomes(state)
        return eventually(function() return queue.state() == state end)
    end
    box.cfg{read_only = true}
    t:ok(becomes('WAITING'), 'WAITING')
    for _, name in ipairs{'put', 'take', 'ack', 'release', 'bury', 'delete'} do
        t:is(tube[name](tube, 0), nil, name)
    end
    box.cfg{read_only = false}
    t:ok(becomes('RUNNING'), 'RUNNING')
    t:is(tube:take(0)[3], 'x', 'taken anew')
    t:is(tube:ack(0)[2], '-', 'acked')
end)

support.run('contract: tubes', laws)
