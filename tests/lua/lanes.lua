-- Lanes: the upper one is taken first, in whatever way its batches come back to the tube.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
support.box{memtx_memory = 128 * 1024 * 1024}

local clock = require('clock')
local fiber = require('fiber')
local msgpack = require('msgpack')
require('roles.store').start({})
local lanes = require('roles.tubes.lanes')
require('roles.tubes').start({'ios'})

local ROW = msgpack.encode({{5, 'a'}})
local LANES = {lanes.MIDDLE, lanes.UPPER, lanes.LOWER}
local ORDER = {[lanes.UPPER] = 1, [lanes.MIDDLE] = 2, [lanes.LOWER] = 3}
local LANE = require('roles.tubes.batch_format').LANE
local tubes = _G.tubes
local epoch, page = 0, 0

local function blank()
    epoch = epoch + 1
    tubes.adopt(epoch)
    tubes.renew(epoch, 600, nil, {})
end

-- One batch of a campaign (its number is its lane, plus ten).
local function put(lane, delay)
    page = page + 1
    local batches = {{'ios', delay or 0, 1, ROW, 2 ^ 50, 0, 0, 0, lane}}
    assert(tubes.page_put(epoch, 10 + (lane or 0), 0, page, batches, 1, {}, {}, {}, 0, 0) == 'put')
end

local poll = 0
local function take(max, upper, timeout)
    poll = poll + 1
    return tubes.batch_take('ios', 'w', max, poll, {}, timeout or 0, upper)
end

-- The lanes of batches, in the order in which they were taken.
local function lanes_of(tasks)
    local found = {}
    for i, task in ipairs(tasks) do
        found[i] = task[2][3][LANE]
    end
    return found
end

local function settle(task, remainders)
    local line = {tallies = {}, reasons = {}, dead = {}, ended = {}}
    return tubes.settle('ios', {{task[2][1], task[1], line, remainders}})[1]
end

-- Wait until `f` says so.
local function until_true(f)
    local deadline = clock.monotonic() + 10
    while not f() do
        assert(clock.monotonic() < deadline, 'in ten seconds')
        fiber.sleep(0.002)
    end
end

-- The ways back to the tube: each leaves the batch of `task` ready there.
local ways = {
    release = function(task) tubes.batch_release('ios', {{task[2][1], task[1]}}) end,
    remainder = function(task) settle(task, {{0, 2, 1, ROW}}) end,
    deferral = function(task)
        settle(task, {{0.01, 2, 1, ROW}})
        until_true(function() return box.space.push_ios.index.status:min({'~'}) == nil end)
    end,
    kick = function(task)
        tubes.batch_bury('ios', task[2][1], task[1], 'a test', false)
        tubes.tube_kick('ios', 1)
    end,
    pause = function(task)
        tubes.batch_release('ios', {{task[2][1], task[1]}})
        local lane = task[2][3][LANE]
        tubes.renew(epoch, 600, nil, {{10 + lane, 1, false}})
        for _, other in ipairs(take(100)) do -- parks what is paused
            tubes.batch_release('ios', {{other[2][1], other[1]}})
        end
        tubes.renew(epoch, 600, nil, {})
        until_true(function() return box.space.tubes_parked:len() == 0 end)
    end,
}
local names = {}
for name in pairs(ways) do
    table.insert(names, name)
end
table.sort(names)

local laws = {
    {'21.3: the upper lane is taken first, then the middle, then the lower; of one lane the oldest', function(test)
        test:plan(2)
        blank()
        for _, lane in ipairs({lanes.LOWER, lanes.MIDDLE, lanes.UPPER, lanes.LOWER, lanes.UPPER}) do
            put(lane)
        end
        put(nil)
        local tasks = take(100)
        test:is_deeply(lanes_of(tasks), {1, 1, 0, 0, 2, 2}, 'by lane')
        test:ok(tasks[1][2][3][5] < tasks[2][2][3][5] and tasks[5][2][3][5] < tasks[6][2][3][5], 'then by age')
    end},

    {'21.3: a batch keeps its lane in whatever way it comes back', function(test)
        test:plan(#names)
        for _, name in ipairs(names) do
            blank()
            for _, lane in ipairs(LANES) do
                put(lane)
            end
            local tasks = take(3)
            for _, task in ipairs({tasks[3], tasks[2], tasks[1]}) do
                ways[name](task)
            end
            test:is_deeply(lanes_of(take(100)), {1, 0, 2}, name)
        end
    end},

    {'21.3: drawn histories are taken in the order of an obvious model', function(test)
        test:plan(60)
        for seed = 1, 60 do
            math.randomseed(seed)
            blank()
            local ready = {} -- the model: how many batches of each lane are on the tube
            local good = true
            for _ = 1, 25 do
                local lane = LANES[math.random(3)]
                if math.random(3) > 1 then
                    put(lane)
                    ready[lane] = (ready[lane] or 0) + 1
                else
                    local upper = math.random(3) == 1
                    local tasks, first = take(1, upper), nil
                    for each, n in pairs(ready) do
                        if n > 0 and (first == nil or ORDER[each] < ORDER[first]) then
                            first = each
                        end
                    end
                    if upper and first ~= lanes.UPPER then
                        first = nil
                    end
                    good = good and lanes_of(tasks)[1] == first
                    if tasks[1] ~= nil and math.random(2) == 1 then
                        ways[names[math.random(#names)]](tasks[1])
                    elseif tasks[1] ~= nil then
                        settle(tasks[1], {})
                        ready[first] = ready[first] - 1
                    end
                end
            end
            test:ok(good, 'seed ' .. seed)
        end
    end},

    {'21.3: a take from the upper lane leaves the others, and comes back as soon as it has something', function(test)
        test:plan(7)
        blank()
        put(lanes.LOWER)
        put(lanes.MIDDLE)
        test:is(#take(4, true), 0, 'nothing of the upper lane')
        test:is(#take(4), 2, 'the others are there')
        for _, name in ipairs({'put', 'release', 'remainder', 'deferral', 'kick'}) do
            blank()
            put(lanes.LOWER)
            put(lanes.UPPER)
            local before = take(1)[1]
            local answer = support.background(take, 1, true, 20)
            fiber.sleep(0.01)
            if name == 'put' then
                put(lanes.UPPER)
            else
                ways[name](before)
            end
            test:is(lanes_of(select(2, answer()))[1], lanes.UPPER, name)
        end
    end},

    {'21.3: batons keep their lane, and a baton of a node without lanes is of the middle one', function(test)
        test:plan(2)
        blank()
        tubes.baton_put({{1, 0, 0, 0}}, lanes.LOWER)
        tubes.baton_put({{2, 0, 0, 0}})
        tubes.baton_put({{3, 0, 0, 0}}, lanes.UPPER)
        local order = {}
        for n = 1, 3 do
            local _, tasks = tubes.baton_take('w', n, {}, 0)
            tubes.baton_release({{tasks[1][2][1], tasks[1][1]}})
            _, tasks = tubes.baton_take('w', n, {}, 0)
            order[n] = tasks[1][2][3][1]
        end
        test:is_deeply(order, {3, 2, 1}, 'upper, middle, lower, and also after a release')
        tubes.baton_put({{4, 0, 0, 0}}, 77)
        local _, tasks = tubes.baton_take('w', 4, {}, 0)
        test:is(tasks[1][2][3][1], 4, 'a lane that is not known is no error')
    end},

    {'21.3: expired batches of a lower lane end although many of the upper one stand before them', function(test)
        test:plan(1)
        blank()
        local at = {}
        for n = 1, 5001 do
            at[n] = {'ios', 0, 1, ROW, 2 ^ 50, 0, 0, 0, lanes.UPPER}
        end
        at[5002] = {'ios', 0, 1, ROW, 1, 0, 0, 0, lanes.LOWER}
        tubes.page_put(epoch, 1, 0, 0, at, 5002, {}, {}, {}, 0, 0)
        test:is(tubes.batches_expire(1000000, 500), 1, 'one batch')
    end},
}

support.run('lanes', laws)
