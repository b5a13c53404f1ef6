-- Batons and batches: put, take, settle. Above Tarantool Queue's tubes, in one transaction with our own books.

local fiber = require('fiber')
local queue = require('queue')
local atomic = require('roles.atomic')
local clock = require('roles.clock')
local memory = require('roles.memory')
local holds = require('roles.tubes.holds')
local outbox = require('roles.tubes.outbox')
local state = require('roles.tubes.state')
local workers = require('roles.tubes.workers')

local work = {}

local BATONS = 'batons'
local BATCH_FORMAT = 2
local CRASHES = 3 -- of who handles it, and a batch is buried
local AFTER_CRASH = 1 -- seconds until it is handed out again

local function push_tube(channel)
    return 'push_' .. channel
end

local function tube_of(name)
    local tube = queue.tube[name]
    if tube == nil then
        error(('tube %q does not exist: is the channel in this node\'s config?'):format(name), 0)
    end
    return tube
end

function work.ensure(channels)
    workers.start()
    queue.create_tube(BATONS, 'fifottl', {if_not_exists = true, ttr = 60})
    for _, channel in ipairs(channels) do
        queue.create_tube(push_tube(channel), 'fifottl', {if_not_exists = true, ttr = 60})
    end
end

-- Clause 1: a queue that is blank, restored or forgotten forgets its work and starts in a new epoch.
function work.adopt(epoch)
    if state.get('epoch') == epoch then
        return false
    end
    -- purging yields: nothing may be put or taken meanwhile in the epoch that is over
    state.end_lease()
    for _, name in ipairs(queue.tube()) do
        queue.tube[name]:truncate()
    end
    atomic(function()
        for _, space in ipairs({'tubes_marks', 'tubes_outbox', 'tubes_taken', 'tubes_parked', 'tubes_suspects'}) do
            local keys = {}
            for _, row in box.space[space]:pairs() do
                table.insert(keys, row)
            end
            for _, row in ipairs(keys) do
                local key = {}
                for i, part in ipairs(box.space[space].index[0].parts) do
                    key[i] = row[part.fieldno]
                end
                box.space[space]:delete(key)
            end
        end
        state.set('line', 0)
        state.set('epoch', epoch)
    end)
    outbox.start() -- its numbers begin anew
    return true
end

-- What a node's heartbeat needs to know: {clock, still}, see `state.renew` and `holds.still`.
function work.standing()
    return {clock.now(), holds.still()}
end

-- A lease, and with it the campaigns that are held. `asked`: nil for now.
function work.renew(epoch, seconds, asked, held)
    if not state.renew(epoch, seconds, asked == nil and clock.now() or asked) then
        return false
    end
    holds.set(held)
    return true
end

-- Batons {campaign, segment, seq, after_id}, from this node's walkers or a neighbour's.
function work.baton_put(batons)
    atomic(function()
        for _, baton in ipairs(batons) do
            tube_of(BATONS):put(baton)
        end
    end)
    return #batons
end

-- Tasks looked at in one transaction: of held campaigns there may be any number before one that may go out.
local LOOKED_AT = 50

local function take_one(tube, worker, poll, task)
    local number = state.draw('take')
    box.space.tubes_taken:replace({tube.name, task[1], number, worker, poll})
    return {number, task} -- as it is: a batch that became a Lua object would be 80 KB for the collector
end

-- Inside the caller's transaction: take what is ready now, at most `max` tasks. Also answers whether there may be more.
local function take_ready(tube, worker, max, poll, tasks)
    for _ = 1, LOOKED_AT do
        if #tasks >= max then
            return tasks, false
        end
        local task = tube:take(0)
        if task == nil then
            return tasks, false
        end
        if not (holds.holding() and tube.name ~= BATONS and holds.set_aside(tube, task)) then
            table.insert(tasks, take_one(tube, worker, poll, task))
        end
    end
    return tasks, true
end

-- Inside the caller's transaction, with the task for which a long poll has waited.
local function take_first(tube, worker, max, poll, first)
    if holds.holding() and tube.name ~= BATONS and holds.set_aside(tube, first) then
        return take_ready(tube, worker, max, poll, {})
    end
    return take_ready(tube, worker, max, poll, {take_one(tube, worker, poll, first)})
end

local function held(name, id, number)
    local row = box.space.tubes_taken:get({name, id})
    return row ~= nil and row.number == number
end

-- Give tasks back: {id, number}s. What is not ours any more is passed over.
local function release(name, leases)
    local n = 0
    for _, lease in ipairs(leases) do
        if held(name, lease[1], lease[2]) and pcall(queue.tube[name].release, queue.tube[name], lease[1]) then
            box.space.tubes_taken:delete({name, lease[1]})
            n = n + 1
        end
    end
    return n
end

-- All that this worker still holds of a tube, or what one of its polls took.
local function release_worker(name, worker, poll)
    local leases = {}
    for _, row in box.space.tubes_taken.index.worker:pairs({worker, name}) do
        if poll == nil or row[5] == poll then
            table.insert(leases, {row.id, row.number})
        end
    end
    return atomic(release, name, leases)
end

-- `poll`: this poll's number; `lost`: the numbers of those of this worker whose answers never came. What they took goes
-- back, as nobody knows of it.
local function take(name, worker, max, poll, lost, timeout)
    local deadline = fiber.clock() + timeout
    for _, gone in ipairs(lost) do
        release_worker(name, worker, gone)
    end
    if not state.wait_leased(timeout) or workers.is_replaced() then
        return {}
    end
    local tube = tube_of(name)
    local tasks, more = atomic(take_ready, tube, worker, max, poll, {})
    while #tasks == 0 do
        if more then
            fiber.yield()
            if not state.leased() or workers.is_replaced() then
                return {}
            end
            tasks, more = atomic(take_ready, tube, worker, max, poll, {})
        else
            local left = deadline - fiber.clock()
            local first = left > 0 and tube:take(left) or nil
            if first == nil then
                return {}
            end
            if not state.leased() or workers.is_replaced() then
                tube:release(first[1])
                return {}
            end
            tasks, more = atomic(take_first, tube, worker, max, poll, first)
        end
    end
    return tasks
end

-- Clause 2 and 6. Long polls: at most `timeout` seconds, then nothing. Answers the epoch and {number, task}s, a task being
-- [id, state, data].
function work.baton_take(worker, poll, lost, timeout)
    local tasks = take(BATONS, worker, 1, poll, lost, timeout)
    return state.get('epoch'), tasks
end

function work.batch_take(channel, worker, max, poll, lost, timeout)
    return take(push_tube(channel), worker, max, poll, lost, timeout)
end

-- Take numbers are never given twice, so number and id together name this very take of this very task; the tube itself
-- refuses a session that lost it.
local function finish(name, id, number)
    if not held(name, id, number) then
        return nil
    end
    local ok, task = pcall(queue.tube[name].ack, queue.tube[name], id)
    if not ok then
        return nil
    end
    box.space.tubes_taken:delete({name, id})
    box.space.tubes_suspects:delete({name, id})
    return task
end

-- Clause 5.
function work.baton_ack(id, number)
    return atomic(finish, BATONS, id, number) ~= nil
end

function work.baton_release(leases)
    return atomic(release, BATONS, leases)
end

function work.batch_release(channel, leases)
    return atomic(release, push_tube(channel), leases)
end

-- A new incarnation calls these before its first take.
function work.baton_release_worker(worker)
    return release_worker(BATONS, worker)
end

function work.batch_release_worker(channel, worker)
    return release_worker(push_tube(channel), worker)
end

local function bury(name, id, crashes, why)
    queue.tube[name]:bury(id)
    box.space.tubes_taken:delete({name, id})
    box.space.tubes_suspects:replace({name, id, crashes, why})
end

-- A batch that nobody can read is put aside for a person.
function work.batch_bury(channel, id, number, why)
    local name = push_tube(channel)
    return atomic(function()
        if not held(name, id, number) then
            return false
        end
        bury(name, id, 0, why)
        return true
    end)
end

-- Who handled this take of this batch crashed. It comes again a second later; at its third crash it is put aside.
-- Answers how often it has crashed, and whether that was the last time.
function work.batch_crashed(channel, id, number, why)
    local name = push_tube(channel)
    return atomic(function()
        if not held(name, id, number) then
            return 0, false
        end
        local known = box.space.tubes_suspects:get({name, id})
        local crashes = (known and known.crashes or 0) + 1
        if crashes >= CRASHES then
            bury(name, id, crashes, why)
            return crashes, true
        end
        queue.tube[name]:release(id, {delay = AFTER_CRASH})
        box.space.tubes_taken:delete({name, id})
        box.space.tubes_suspects:replace({name, id, crashes, why})
        return crashes, false
    end)
end

-- What Tarantool says when its memory is used up, as an answer.
local function unless_full(ok, ...)
    if ok then
        return ...
    end
    local err = (...)
    if memory.is_refusal(err) then
        return 'full'
    end
    error(err, 0)
end

-- Clause 4, `page_put`. batches: {{channel, delay in seconds, size, recipients (MessagePack), expires_at}...}; tallies:
-- channel -> outcome -> n of what needs no batch. id, number: the baton's lease, which ends with the page. Answers 'put',
-- 'marked' (was put before), 'fenced', or 'full': nothing was written, as the memory is used up; try again when settlements
-- have freed some. After the first two: whether the baton was ours, and is acked.
function work.page_put(epoch, campaign, segment, seq, batches, recipients, tallies, id, number)
    return unless_full(pcall(atomic, function()
        if not state.leased() or state.get('epoch') ~= epoch then
            return 'fenced'
        end
        if box.space.tubes_marks:get({campaign, segment, seq}) ~= nil then
            return 'marked', finish(BATONS, id, number) ~= nil
        end
        if memory.full() then
            return 'full'
        end
        for n, batch in ipairs(batches) do
            tube_of(push_tube(batch[1])):put(
                {BATCH_FORMAT, campaign, epoch, segment, seq, n, 1, batch[5], batch[3], batch[4]},
                batch[2] > 0 and {delay = batch[2]} or nil)
        end
        box.space.tubes_marks:insert({campaign, segment, seq})
        outbox.append({kind = 'enqueued', campaign = campaign, segment = segment, seq = seq,
                       recipients = recipients, tallies = setmetatable(tallies, {__serialize = 'map'})})
        return 'put', finish(BATONS, id, number) ~= nil
    end))
end

-- Clause 7. settlements: {{id, number, line, remainders}...} with remainders {{delay, attempt, size, recipients}...}.
-- Answers a boolean each: false means that the task is not ours any more, and nothing of it was written.
function work.settle(channel, settlements)
    local name = push_tube(channel)
    return atomic(function()
        local answers = {}
        for i, settlement in ipairs(settlements) do
            local id, number, line, remainders = unpack(settlement, 1, 4)
            local task = finish(name, id, number)
            if task ~= nil then
                local function field(n)
                    return task[('[3][%d]'):format(n)] -- that one alone: the recipients need not become a Lua string
                end
                local campaign, epoch, segment, seq = field(2), field(3), field(4), field(5)
                line.kind = 'settled'
                line.campaign, line.segment, line.seq, line.channel = campaign, segment, seq, channel
                for p, rest in ipairs(remainders) do
                    -- n: a page's own batches count up from 1; remainders are negative, and made of the take's number,
                    -- so no other batch of this epoch has the same
                    queue.tube[name]:put(
                        {BATCH_FORMAT, campaign, epoch, segment, seq, -(number * 8 + p - 1), rest[2], field(8), rest[3],
                         rest[4]},
                        rest[1] > 0 and {delay = rest[1]} or nil)
                end
                outbox.append(line)
            end
            answers[i] = task ~= nil
        end
        return answers
    end)
end

-- Up to `limit` batches of a channel that were put aside: {id, data, how often its handlers crashed, why} each.
function work.tube_buried(channel, limit)
    local name = push_tube(channel)
    local tube, list = tube_of(name), {}
    for _, row in box.space[name].index[1]:pairs({'!'}) do
        if #list >= limit then
            break
        end
        local task = tube:peek(row[1])
        local suspect = box.space.tubes_suspects:get({name, task[1]})
        table.insert(list, {task[1], task[3], suspect and suspect.crashes or 0, suspect and suspect.why or ''})
    end
    return list
end

-- Bring up to `count` of them back, with a clean record; answers how many.
function work.tube_kick(channel, count)
    local name = push_tube(channel)
    local tube = tube_of(name)
    return atomic(function()
        for _, task in ipairs(work.tube_buried(channel, count)) do
            box.space.tubes_suspects:delete({name, task[1]})
        end
        return tube:kick(count)
    end)
end

function work.statistics()
    local tubes = setmetatable({}, {__serialize = 'map'})
    for name, s in pairs(queue.statistics()) do
        tubes[name] = s.tasks
    end
    return {tubes = tubes, outbox = box.space.tubes_outbox:len(), marks = box.space.tubes_marks:len(),
            parked = box.space.tubes_parked:len(), memory = memory.usage()}
end

return work
