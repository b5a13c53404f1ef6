-- A correction that is interrupted at any step: the campaign stays paused, and the same call completes it.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
support.box{memtx_memory = 128 * 1024 * 1024}

local fiber = require('fiber')
require('roles.store').start({})
local clock = require('roles.clock')
local corrections = require('roles.store.corrections')
local nodes = require('roles.store.nodes')
local settled_ids = require('roles.store.settled_ids')
local store = _G.store

local MAP = {__serialize = 'map'}
local PAGES = 175 -- four steps
local NOW = 1800000000000
local id = 100

local function map(values)
    return setmetatable(values or {}, MAP)
end

-- A paused campaign: each second page is settled, the others have one of ten settled.
local function paused()
    id = id + 10
    store.campaign_create(id, 'old', map({channels = {'ios'}}), map({ttl_ms = 1000}), NOW)
    store.campaign_create(id + 1, 'new', map({channels = {'ios'}, where = map()}), map({corrects = id, ttl_ms = 1000}), NOW)
    box.space.store_campaigns:update(id, {{'=', 'state', 'paused'}, {'=', 'fired_at', NOW}, {'=', 'pages_open', PAGES}})
    box.space.store_cursors:insert({id, 0, PAGES, PAGES * 10, PAGES * 10, true, NOW})
    box.space.store_totals:insert({id, 'ios', map({enqueued = PAGES * 10, delivered = PAGES}), map()})
    for seq = 0, PAGES - 1 do
        box.space.store_pages:insert({
            id, 0, seq, seq * 10, seq * 10 + 10, 'n1', 1, NOW, seq % 2 == 0 and 'settled' or 'enqueued', 10, 1,
            map({ios = map({enqueued = 10, delivered = 1})}), seq % 2 == 0 and {} or {seq, 2ULL}, box.NULL, NOW,
        })
    end
end

local function correct()
    return store.campaign_correct(id, id + 1, 'new', NOW)
end

-- Correct, and be killed at the nth pause between two steps.
local function killed_at(n)
    local yield, left = fiber.yield, n
    fiber.yield = function()
        left = left - 1
        if left == 0 then
            error('killed', 0)
        end
        yield()
    end
    local ok = pcall(correct)
    fiber.yield = yield
    return not ok
end

local function late_pages()
    local list = {}
    for _, page in box.space.store_pages:pairs({id + 1, corrections.LATE}) do
        if page.campaign == id + 1 then
            table.insert(list, page)
        end
    end
    return list
end

local laws = {
    {'25.5: a node that is away when a text is taken back, and never returns: who may have it gets the new one', function(test)
        test:plan(9)
        local epoch = store.node_join('gone', '1', 0, NOW, {'ios'})
        store.node_join('here', '2', 0, NOW, {'ios'})
        paused()
        box.space.store_pages:insert({
            id, 0, PAGES, PAGES * 10, PAGES * 10 + 10, 'gone', epoch, NOW, 'enqueued', 10, 1,
            map({ios = map({enqueued = 10, delivered = 1})}),
            {math.floor((PAGES * 10 + 3) / 64), bit.lshift(1ULL, (PAGES * 10 + 3) % 64)},
            box.NULL, NOW,
        })
        test:is(correct(), 'copied', 'it has another text')
        store.campaign_cancel(id, NOW)
        local real = clock.now
        clock.now = function() return real() + 20 end
        local campaign = box.space.store_campaigns:get(id)
        store.node_renew('here', box.space.store_nodes:get('here').epoch, NOW + 1, {{id, campaign.version}}, {}, '')
        test:is(box.space.store_campaigns:get(id).state, 'cancelled', 'it is taken back without the node')
        test:is(#late_pages(), 0, 'it may still return, and say exactly who has it')
        test:is(store.node_forget('gone'), 'forgotten', 'it does not')
        local late = late_pages()
        test:is(#late, 1, 'one page more')
        local blocks, people = settled_ids.unpack(late[1].only), {}
        for one = PAGES * 10 + 1, PAGES * 10 + 10 do
            if settled_ids.has(blocks, one) then
                table.insert(people, one - PAGES * 10)
            end
        end
        test:is_deeply(people, {1, 2, 4, 5, 6, 7, 8, 9, 10}, 'all of its page but the one who is settled')
        test:is(box.space.store_campaigns:get(id + 1).state, 'firing', 'the second walk is not over')
        nodes.release_fenced()
        store.node_join('gone', '3', 0, NOW, {'ios'})
        test:is(#late_pages(), 1, 'once')
        local second = box.space.store_campaigns:get(id + 1)
        test:is(second.pages_open, PAGES + 2, 'and it is counted')
        clock.now = real
    end},
    {'25.5: whatever step it is killed at, the campaign stands still, and the same call completes the correction', function(test)
        test:plan(4 * 6)
        for n = 1, 4 do
            paused()
            test:is(killed_at(n), n < 4, 'at step ' .. n)
            test:is(corrections.unfinished(id), n < 4, 'it is not complete')
            if n < 4 then
                test:is((store.campaign_resume(id, NOW)), 'paused', 'and nothing goes on')
            else
                test:is((store.campaign_resume(id, NOW)), 'firing', 'and it goes on')
                box.space.store_campaigns:update(id, {{'=', 'state', 'paused'}})
            end
            test:is(correct(), 'copied', 'the same call')
            local pages, all, some = 0, 0, 0
            for _, page in box.space.store_pages:pairs({id + 1}) do
                if page.campaign == id + 1 then
                    pages = pages + 1
                    all, some = all + (page.only == nil and 1 or 0), some + (page.only ~= nil and #page.only / 2 or 0)
                end
            end
            test:is_deeply({pages, all, some}, {PAGES, 88, 87}, 'each page once: all of a settled one, one of the others')
            local walk = box.space.store_campaigns:get(id + 1)
            test:is_deeply({walk.state, walk.pages_open}, {'firing', PAGES}, 'the second walk begins')
        end
    end},
}

support.run('corrections', laws)
