-- What a queue does with takes that did not end well: an ack that fails, workers that died, leases that ran out.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
support.box{memtx_memory = 128 * 1024 * 1024}

local fiber = require('fiber')
local msgpack = require('msgpack')
local queue = require('queue')
require('roles.store').start({})
local workers = require('roles.tubes.workers')
require('roles.tubes').start({'ios', 'android'})

local RECIPIENTS = msgpack.encode({{5, 'a'}, {7, 'b'}, {9, 'c'}})
local tubes = _G.tubes
local seq = 0

-- A blank queue with one batch of three in it; the poll's answer of a first take.
local function batch()
    seq = seq + 1
    tubes.adopt(seq)
    tubes.renew(seq, 60, nil, {})
    tubes.page_put(seq, 7, 0, 0, {{'ios', 0, 3, RECIPIENTS, 2 ^ 40}}, 3, {}, {}, {}, 0, 0)
end

local function take(worker, timeout)
    local task = tubes.batch_take('ios', worker or 'w', 1, 1, {}, timeout or 5)[1]
    return task and task[2][1], task and task[1]
end

local function settle(id, number)
    local line = {tallies = {delivered = 3}, reasons = {}, dead = {}, first = 5, last = 9, left = {}}
    return tubes.settle('ios', {{id, number, line, {}}})
end

-- The tube's next deletion of a lease fails, as it would without memory; returns how to undo that.
local function failing_once()
    local methods = getmetatable(box.space._queue_leases).__index
    local original, armed = methods.delete, true
    methods.delete = function(space, key)
        if armed and space.name == '_queue_leases' then
            armed = false
            box.error({code = box.error.MEMORY_ISSUE, reason = 'injected'})
        end
        return original(space, key)
    end
    return function() methods.delete = original end
end

local laws = {
    {'A8: a settlement whose ack fails writes nothing, and says so', function(test)
        test:plan(5)
        batch()
        local id, number = take()
        local undo = failing_once()
        local ok, failure = pcall(settle, id, number)
        undo()
        test:ok(not ok and failure.code == box.error.MEMORY_ISSUE, 'the error comes out as it is')
        test:is(box.space.push_ios:get(id)[2], 't', 'the batch is still taken')
        test:is(box.space.tubes_outbox:len(), 1, 'nothing but the page was written')
        test:is_deeply(settle(id, number), {true}, 'the same again')
        test:is(box.space.tubes_outbox:len(), 2, 'is written once')
    end},

    {'A8: a release that fails gives nothing back, and says so', function(test)
        test:plan(3)
        batch()
        local id, number = take()
        local undo = failing_once()
        test:ok(not pcall(tubes.batch_release, 'ios', {{id, number}}), 'an error')
        undo()
        test:is(box.space.tubes_taken:get({'push_ios', id}).number, number, 'it is still ours')
        test:is(tubes.batch_release('ios', {{id, number}}), 1, 'the same again')
    end},

    {'A8: of several settlements, what the tube gave to others is left out and the others are written', function(test)
        test:plan(2)
        batch()
        tubes.page_put(seq, 7, 0, 1, {{'ios', 0, 3, RECIPIENTS, 2 ^ 40}}, 3, {}, {}, {}, 0, 0)
        local one, first = take()
        local two, second = take()
        box.space._queue_leases:delete{queue.tube.push_ios.tube_id, one} -- as after a lost session
        local line = {tallies = {delivered = 3}, reasons = {}, dead = {}, first = 5, last = 9, left = {}}
        test:is_deeply(tubes.settle('ios', {{one, first, line, {}}, {two, second, table.copy(line), {}}}), {false, true},
                       'each has its answer')
        test:is(box.space.tubes_outbox:len(), 3, 'two pages, one settlement')
    end},

    {'S1: a worker that dies with a batch in hand five times has it buried, and told apart', function(test)
        test:plan(8)
        batch()
        for death = 1, 5 do
            test:ok(take('w'), 'handed out ' .. death)
            tubes.batch_release_worker('ios', 'w')
        end
        test:isnil(take('w', 0.1), 'not a sixth time')
        local task = tubes.tube_buried('ios', 5)[1]
        test:is(task[5], 3, 'three may have been sent to')
        test:like(task[4], '^5 takes of it ended without a result', 'and why')
    end},

    {'S1: a worker that is stopped in order has nothing counted, however often', function(test)
        test:plan(2)
        batch()
        for _ = 1, 7 do
            take('w')
            tubes.worker_stopping('w')
            tubes.batch_release_worker('ios', 'w')
        end
        test:ok(take('w'), 'it goes on being handed out')
        test:is(box.space.tubes_poison_counters:len(), 0, 'and nothing is counted')
    end},

    {'S1: what a worker gives back is not counted, nor what a lost poll took', function(test)
        test:plan(2)
        batch()
        for _ = 1, 7 do
            local id, number = take('w')
            tubes.batch_release('ios', {{id, number}})
        end
        for poll = 1, 7 do
            tubes.batch_take('ios', 'w', 1, poll, {poll - 1}, 5)
        end
        test:is(box.space.tubes_poison_counters:len(), 0, 'nothing is counted')
        test:is(box.space.push_ios:len(), 1, 'still there')
    end},

    {'S1: when one batch is blamed for a crash the others in the same hands are not', function(test)
        test:plan(2)
        batch()
        tubes.page_put(seq, 7, 0, 1, {{'ios', 0, 3, RECIPIENTS, 2 ^ 40}}, 3, {}, {}, {}, 0, 0)
        local id, number = take('w')
        local other = take('w')
        tubes.batch_crashed('ios', id, number, 'boom')
        tubes.batch_release_worker('ios', 'w')
        test:is(box.space.tubes_poison_counters:get({'push_ios', id}).crashes, 1, 'the one')
        test:isnil(box.space.tubes_poison_counters:get({'push_ios', other}), 'not the other')
    end},

    {'S1: a lease that runs out in the hands of a living worker is counted, a lost session is not', function(test)
        test:plan(4)
        local function client()
            local link = support.client()
            link:call('tubes.identify', {'living'})
            return link
        end
        box.schema.user.grant('guest', 'super', nil, nil, {if_not_exists = true})
        box.cfg{listen = support.socket}
        batch()
        local living = client()
        local id = living:call('tubes.batch_take', {'ios', 'living', 1, 1, {}, 5})[1][2][1]
        box.space.push_ios:update(id, {{'=', 3, 1}}) -- its time is over
        queue.tube.push_ios:release_all()
        test:ok(take('w'), 'it is handed to another')
        test:is(box.space.tubes_poison_counters:get({'push_ios', id})[5], 1, 'and was counted')
        batch()
        queue.cfg{ttr = 0}
        id = living:call('tubes.batch_take', {'ios', 'living', 1, 1, {}, 5})[1][2][1]
        living:close()
        -- the queue gives it back while the connection is still being taken down
        test:ok(support.eventually(function()
            return box.space.push_ios:get(id)[2] == 'r' and not workers.connected('living')
        end), 'given back by the queue')
        take('w')
        test:isnil(box.space.tubes_poison_counters:get({'push_ios', id}), 'and not counted')
        queue.cfg{ttr = 15}
    end},

    {'S1: a pause keeps a poison counter, and forgets nothing else', function(test)
        test:plan(3)
        batch()
        take('w')
        tubes.batch_release_worker('ios', 'w')
        tubes.renew(seq, 60, nil, {{7, 1, false, true}})
        test:isnil(take('w', 0), 'paused')
        test:is(box.space.tubes_poison_counters:len(), 0, 'its id may be another task\'s now')
        tubes.renew(seq, 60, nil, {})
        local id = take('w')
        test:is(box.space.tubes_poison_counters:get({'push_ios', id})[5], 1, 'and it is counted still')
    end},

    {'S1: what is buried ends when its news expires, and at once when a person says so', function(test)
        test:plan(9)
        for _, now in ipairs({2 ^ 40, false}) do
            batch()
            local id, number = take()
            tubes.batch_bury('ios', id, number, 'RuntimeError: token abcdef', true)
            local batches, recipients = tubes.batches_expire(2 ^ 40 - 1, 10)
            test:is(batches + recipients, 0, 'not before')
            if now then
                batches, recipients = tubes.batches_expire(now, 10)
            else
                batches, recipients = tubes.tube_end('ios', 10)
            end
            test:is_deeply({batches, recipients}, {1, 3}, 'one batch of three')
            local line = box.space.tubes_outbox.index.number:max().line
            test:is_deeply({line.tallies, line.reasons, line.first, line.last},
                           {{rejected = 3, unsure = -3}, {['buried: RuntimeError'] = 3}, 5, 9}, 'the ledger hears of it')
            test:is(box.space.push_ios:len() + box.space.tubes_poison_counters:len(), 0, 'nothing is left')
        end
        queue.tube.push_ios:put('what nobody can read')
        local id, number = take()
        tubes.batch_bury('ios', id, number, 'not a batch')
        tubes.batches_expire(2 ^ 50, 10)
        test:is_deeply({tubes.tube_end('ios', 10)}, {1, 0}, 'what nobody can read ends by a person alone')
    end},

    {'C3: what a channel that stands still does not take ends with its news, unless its campaign is paused', function(test)
        test:plan(5)
        batch()
        tubes.page_put(seq, 7, 0, 1, {{'ios', 0, 3, RECIPIENTS, 2 ^ 40}}, 3, {}, {}, {}, 0, 0)
        local id, number = take()
        tubes.batch_crashed('ios', id, number, 'RuntimeError') -- one is ready, one delayed
        test:is_deeply({tubes.batches_expire(2 ^ 40 + 4999, 10)}, {0, 0}, 'a channel that moves ends it by itself')
        tubes.renew(seq, 60, nil, {{7, 1, false, true}})
        test:is_deeply({tubes.batches_expire(2 ^ 40 + 5000, 10)}, {0, 0}, 'a paused campaign stands as it is')
        tubes.renew(seq, 60, nil, {})
        test:is_deeply({tubes.batches_expire(2 ^ 40 + 5000, 10)}, {2, 6}, 'two batches of three')
        local sums, line = {expired = 0, unsure = 0}, nil
        for _, row in box.space.tubes_outbox:pairs() do
            line = row.line
            for word, n in pairs(line.kind == 'settled' and line.tallies or {}) do
                sums[word] = sums[word] + n
            end
        end
        test:is_deeply({sums, line.reasons, line.first, line.last},
                       {{expired = 6, unsure = 0}, {['expired on the tube'] = 3}, 5, 9}, 'the ledger hears of it')
        test:is(box.space.push_ios:len() + box.space.tubes_poison_counters:len(), 0, 'nothing is left')
    end},

    {'25.4: who was in hands that ended without a result may have it, and is counted once until it is settled', function(test)
        test:plan(8)
        local function unsure()
            local n = 0
            for _, row in box.space.tubes_outbox:pairs() do
                n = n + (row.line.tallies.unsure or 0)
            end
            return n
        end
        batch()
        local id, number = take('w')
        tubes.batch_release('ios', {{id, number}})
        test:is(unsure(), 0, 'what is given back was not begun')
        take('w')
        tubes.batch_release_worker('ios', 'w')
        test:is(unsure(), 3, 'its worker has died')
        take('w')
        tubes.batch_release_worker('ios', 'w')
        test:is(unsure(), 3, 'once')
        batch()
        take('w')
        queue.tube.push_ios:release_all()
        id, number = take('w')
        test:is(box.space.push_ios:get(id)[8][7], 1000001, 'its lease has ended: who settles it is told')
        test:is(unsure(), 3, 'and the ledger')
        batch()
        take('w')
        queue.tube.push_ios:release_all()
        tubes.renew(seq, 60, nil, {{7, 1, false, true}})
        tubes.standing()
        test:is(unsure(), 3, 'nobody takes what is paused, and it is counted')
        batch()
        id, number = take('w')
        require('roles.tubes.unsure').mark_all({{'push_ios', id}}) -- as for what was taken when the instance ended
        test:is(unsure(), 3, 'what was in hand when the instance ended')
        tubes.batch_crashed('ios', id, number, 'boom')
        test:is(unsure(), 3, 'nothing twice')
    end},

    {'25.4: a stop wakes who waits for one, and is not missed between two waits', function(test)
        test:plan(3)
        local known = tubes.standing()[3]
        local began = fiber.clock()
        test:is(tubes.stopped(known, 0.05), known, 'none')
        fiber.create(function() fiber.sleep(0.05) tubes.stop() end)
        test:is(tubes.stopped(known, 5), known + 1, 'one')
        tubes.stop()
        tubes.stopped(known + 1, 5)
        test:ok(fiber.clock() - began < 2, 'at once')
    end},

    {'S8: only batons are taken for batons', function(test)
        test:plan(17)
        batch()
        for _, junk in ipairs({
            {1, 2, 3}, {1, 2, 3, 4, 5}, {'a', 2, 3, 4}, {1, -2, 3, 4}, {1, 2, 3.5, 4}, {1, 2, 2 ^ 50, 4}, {1, 2 ^ 30, 3, 4},
            {1, 2, 3, {}}, {1, 2, 3, true}, 7, 'baton', {a = 1, b = 2, c = 3, d = 4}, {-1LL, 2, 3, 4},
        }) do
            test:ok(not pcall(tubes.baton_put, {{1, 0, 0, 0}, junk}), require('json').encode(junk))
        end
        local many = {}
        for i = 1, 1001 do
            many[i] = {1, 0, i, 0}
        end
        test:ok(not pcall(tubes.baton_put, many), 'too many')
        test:ok(not pcall(tubes.baton_put, 7), 'no list')
        test:is(box.space.batons:len(), 0, 'nothing of it was put')
        test:is(tubes.baton_put({{1152921504606846981ULL, 0, 0, 9007199254740993ULL}}), 1, 'a good one is')
    end},

    {'S8: a baton that cannot be walked is buried at its third crash, and few are kept', function(test)
        test:plan(3)
        batch()
        local crashes, over
        for _ = 1, 3 do
            tubes.baton_put({{1, 0, 0, 0}})
            local _, tasks = tubes.baton_take('w', 1, {}, 5)
            crashes, over = tubes.baton_crashed(tasks[1][2][1], tasks[1][1], 'boom')
            tubes.baton_release_worker('w')
            if over then break end
            for _, task in box.space.batons:pairs() do
                if task[2] == 'r' then queue.tube.batons:delete(task[1]) end
            end
            box.space.batons:update(box.space.batons.index[0]:min()[1], {{'=', 2, 'r'}})
        end
        test:is_deeply({crashes, over}, {3, true}, 'the third is the last')
        for n = 1, 30 do
            tubes.baton_put({{n, 0, 0, 0}})
            local _, tasks = tubes.baton_take('w', 1, {}, 5)
            tubes.baton_bury(tasks[1][2][1], tasks[1][1], 'not a baton')
        end
        test:is(queue.statistics('batons').tasks.buried, 20, 'twenty')
        test:is(box.space.tubes_poison_counters:len(), 20, 'with what is known of them')
    end},
}

fiber.name('laws')
support.run('settlements', laws)
