-- Batons and batches: put, take, settle. Above Tarantool Queue's tubes, in one transaction with our own books.

local fiber = require('fiber')
local log = require('log')
local queue = require('queue')
local atomic = require('roles.atomic')
local clock = require('roles.clock')
local memory = require('roles.memory')
local buried = require('roles.tubes.buried')
local holds = require('roles.tubes.holds')
local outbox = require('roles.tubes.outbox')
local state = require('roles.tubes.state')
local suspects = require('roles.tubes.suspects')
local workers = require('roles.tubes.workers')

local work = {}

local BATONS = 'batons'
local BATCH_FORMAT = 2
local BURIED_BATONS = 20 -- kept to be looked at: the shepherd makes a lost baton again, so they may be many
local BATONS_A_CALL = 1000
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

-- Largest of {campaign, segment, seq, after_id}.
local BATON = {2 ^ 64, 2 ^ 20, 2 ^ 40, 2 ^ 63}

local function is_baton(baton)
    if type(baton) ~= 'table' or #baton ~= #BATON then
        return false
    end
    for i, most in ipairs(BATON) do
        local part = baton[i]
        local whole = (type(part) == 'number' and part == math.floor(part)) or tostring(part):find('^%d+ULL$') ~= nil
        if not whole or part < 0 or tonumber(part) >= most then
            return false
        end
    end
    return true
end

-- Batons {campaign, segment, seq, after_id}, from this node's walkers or a neighbour's, who may be of another mind about
-- what a baton is.
function work.baton_put(batons)
    if type(batons) ~= 'table' or #batons > BATONS_A_CALL then
        error(('baton_put: a list of at most %d batons is taken'):format(BATONS_A_CALL), 0)
    end
    for i = 1, #batons do
        if not is_baton(batons[i]) then
            error(('baton_put: number %d is no baton {campaign, segment, seq, after_id}: four whole numbers, none below 0, ' ..
                   'segment below 2^20, seq below 2^40'):format(i), 0)
        end
    end
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
    box.space.tubes_taken:replace({tube.name, task[1], number, worker, poll, false, workers.life(worker)})
    return {number, task} -- as it is: a batch that became a Lua object would be 80 KB for the collector
end

-- Inside the caller's transaction, which has just taken this task: is it one to hand out? Else it is out of the way.
local function may_go_out(tube, task)
    if holds.holding() and tube.name ~= BATONS and holds.set_aside(tube, task) then
        return false
    end
    local known = suspects.doomed(tube.name, task[1])
    if known ~= nil then
        known.why = ('%d takes of it ended in nothing; the first: %s'):format(known.ends, known.why)
        log.error('task %s of %s is buried: %s', task[1], tube.name, known.why)
        buried.bury(tube.name, task[1], known, true)
    end
    return known == nil
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
        if may_go_out(tube, task) then
            table.insert(tasks, take_one(tube, worker, poll, task))
        end
    end
    return tasks, true
end

-- Inside the caller's transaction, with the task for which a long poll has waited.
local function take_first(tube, worker, max, poll, first)
    return take_ready(tube, worker, max, poll, may_go_out(tube, first) and {take_one(tube, worker, poll, first)} or {})
end

local function held(name, id, number)
    local row = box.space.tubes_taken:get({name, id})
    return row ~= nil and row.number == number
end

-- What the tubes say of a task that this session has lost: its time ran out, or the session it was taken in is over.
local function is_lost(err)
    return type(err) == 'string' and (err:find('Task was not taken', 1, true) or err:find('Task .* not found')) ~= nil
end

-- One transaction over tasks that were taken. Only the tube knows whether this session still has a task, and says so by an
-- error in the middle of things: then all of it is rolled back, and done again without that task. `f(mine)`:
-- mine(name, id, number) answers whether that take of that task is still ours.
local function with_taken(f)
    local lost, at = {}, nil
    local function mine(name, id, number)
        at = name .. ' ' .. tostring(id)
        return not lost[at] and held(name, id, number)
    end
    while true do
        at = nil
        local ok, first, second = pcall(atomic, f, mine)
        if ok then
            return first, second
        elseif at == nil or lost[at] or not is_lost(first) then
            error(first, 0)
        end
        lost[at] = true
    end
end

-- Give tasks back: {id, number}s. What is not ours any more is passed over.
local function release(name, leases)
    return with_taken(function(mine)
        local n = 0
        for _, lease in ipairs(leases) do
            if mine(name, lease[1], lease[2]) then
                queue.tube[name]:release(lease[1])
                box.space.tubes_taken:delete({name, lease[1]})
                n = n + 1
            end
        end
        return n
    end)
end

local function taken_by(name, worker)
    return box.space.tubes_taken.index.worker:select({worker, name})
end

-- What one of a worker's polls took, and nobody has heard of: as if it had not been taken.
local function release_poll(name, worker, poll)
    local leases = {}
    for _, row in ipairs(taken_by(name, worker)) do
        if row[5] == poll then
            table.insert(leases, {row.id, row.number})
        end
    end
    return release(name, leases)
end

-- All that an earlier incarnation of this worker held of a tube. Those takes ended in nothing, and are counted so.
local function release_worker(name, worker)
    return with_taken(function(mine)
        local n, apart = 0, 0
        for _, row in ipairs(taken_by(name, worker)) do
            local delay = 0
            if not row[6] then
                local ends = suspects.ended(name, row.id, worker .. ' ended with it in hand')
                apart = apart + (ends > 1 and 1 or 0)
                delay = suspects.delay(ends, apart)
            end
            if mine(name, row.id, row.number) then
                queue.tube[name]:release(row.id, delay > 0 and {delay = delay} or nil)
                n = n + 1
            end
            box.space.tubes_taken:delete({name, row.id})
        end
        return n
    end)
end

-- `poll`: this poll's number; `lost`: the numbers of those of this worker whose answers never came. What they took goes
-- back, as nobody knows of it.
local function take(name, worker, max, poll, lost, timeout)
    local deadline = fiber.clock() + timeout
    for _, gone in ipairs(lost) do
        release_poll(name, worker, gone)
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

-- Take numbers are never given twice, so number and id together name this very take of this very task. Inside the caller's
-- transaction; `mine`: see `with_taken`.
local function finish(mine, name, id, number)
    if not mine(name, id, number) then
        return nil
    end
    local task = queue.tube[name]:ack(id)
    if task ~= nil then
        suspects.forget(name, id)
    end
    return task
end

-- Clause 5.
function work.baton_ack(id, number)
    return with_taken(function(mine) return finish(mine, BATONS, id, number) end) ~= nil
end

function work.baton_release(leases)
    return release(BATONS, leases)
end

function work.batch_release(channel, leases)
    return release(push_tube(channel), leases)
end

-- A new incarnation calls these before its first take.
function work.baton_release_worker(worker)
    return release_worker(BATONS, worker)
end

function work.batch_release_worker(channel, worker)
    return release_worker(push_tube(channel), worker)
end

-- A worker is being stopped in order: what it cannot settle in time says nothing against the tasks in its hands.
function work.worker_stopping(worker)
    atomic(function()
        for _, name in ipairs({worker, worker .. '/walker'}) do
            suspects.excuse(name)
        end
    end)
end

-- `sent`: whether pushes of it may have gone out.
local function bury(name, id, number, why, sent)
    return with_taken(function(mine)
        if not mine(name, id, number) then
            return false
        end
        local known = suspects.get(name, id)
        known.why = why
        buried.bury(name, id, known, sent)
        return true
    end)
end

-- Who handled this take of this task crashed. It comes again a second later; at its third crash it is buried. Answers how
-- often it has crashed, and whether that was the last time.
local function crashed(name, id, number, why)
    return with_taken(function(mine)
        if not mine(name, id, number) then
            return 0, false
        end
        local known = suspects.get(name, id)
        known.crashes, known.why = known.crashes + 1, why
        suspects.excuse(box.space.tubes_taken:get({name, id}).worker, name)
        if known.crashes >= suspects.CRASHES then
            buried.bury(name, id, known, true)
            return known.crashes, true
        end
        queue.tube[name]:release(id, {delay = AFTER_CRASH})
        box.space.tubes_taken:delete({name, id})
        suspects.put(name, id, known)
        return known.crashes, false
    end)
end

-- A batch that nobody can read, or whose settlement nobody can write, is buried for a person.
function work.batch_bury(channel, id, number, why, sent)
    return bury(push_tube(channel), id, number, why, sent)
end

function work.batch_crashed(channel, id, number, why)
    return crashed(push_tube(channel), id, number, why)
end

function work.baton_bury(id, number, why)
    local was_ours = bury(BATONS, id, number, why, false)
    buried.keep(BATONS, BURIED_BATONS)
    return was_ours
end

function work.baton_crashed(id, number, why)
    local crashes, over = crashed(BATONS, id, number, why)
    buried.keep(BATONS, BURIED_BATONS)
    return crashes, over
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
    return unless_full(pcall(with_taken, function(mine)
        if not state.leased() or state.get('epoch') ~= epoch then
            return 'fenced'
        end
        if box.space.tubes_marks:get({campaign, segment, seq}) ~= nil then
            return 'marked', finish(mine, BATONS, id, number) ~= nil
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
        return 'put', finish(mine, BATONS, id, number) ~= nil
    end))
end

-- Clause 7. settlements: {{id, number, line, remainders}...} with remainders {{delay, attempt, size, recipients}...}.
-- Answers a boolean each: false means that the task is not ours any more, and nothing of it was written.
function work.settle(channel, settlements)
    local name = push_tube(channel)
    return with_taken(function(mine)
        local answers = {}
        for i, settlement in ipairs(settlements) do
            local id, number, line, remainders = unpack(settlement, 1, 4)
            local task = finish(mine, name, id, number)
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

function work.tube_buried(channel, limit)
    tube_of(push_tube(channel))
    return buried.list(push_tube(channel), limit)
end

function work.tube_kick(channel, count)
    tube_of(push_tube(channel))
    return buried.kick(push_tube(channel), count)
end

function work.tube_end(channel, limit)
    tube_of(push_tube(channel))
    return buried.finish(channel, limit)
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
