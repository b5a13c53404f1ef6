-- What is kept so that `explain` can name people is bounded: the oldest leave, and a report or a deletion never fails for it.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
support.box{memtx_memory = 256 * 1024 * 1024}

require('roles.store').start({})
local answers = require('roles.store.answers')
local departures = require('roles.store.departures')

local NOW = 1800000000000
local MOST_ANSWERS, MOST_DEPARTURES = 100000, 200000
local CAMPAIGNS, OF_EACH = 100, 1000

local function page(campaign, seq)
    return {campaign = campaign, segment = 0, seq = seq, node = 'n1', from_id = 0, to_id = 64}
end

local function refused(id)
    return {kind = 'settled', tallies = {}, answers = {{'rejected', 'why', 1, 1, {math.floor(id / 64), 2ULL}}}}
end

local function filled()
    box.begin()
    for campaign = 1, CAMPAIGNS do
        for seq = 1, OF_EACH do
            box.space.store_answers:insert({campaign, 0, seq, 1, 'dead', 'why', 1, 'n1', NOW, 1, {0, 2ULL}, false})
        end
    end
    box.commit()
end

local function of(campaign)
    return box.space.store_answers.index.id:count({campaign})
end

local laws = {
    {'25.7: of 100,000 sets of exceptions those of the oldest campaign leave, and the newest stay', function(test)
        test:plan(5)
        filled()
        test:is(box.space.store_answers:len(), MOST_ANSWERS, 'it is full')
        for seq = 1, 500 do
            answers.note(page(CAMPAIGNS + 1, seq), refused(seq), {}, NOW)
        end
        test:is(of(CAMPAIGNS + 1), 500, 'all of the newest campaign are kept')
        test:is(of(1), 500, 'as many of the oldest have left')
        test:is(of(2), OF_EACH, 'and none of the next')
        test:ok(box.space.store_answers:len() <= MOST_ANSWERS, 'no more than the bound')
    end},
    {'25.7: a campaign that fills all of it keeps its first ones, and its report goes on', function(test)
        test:plan(3)
        box.space.store_answers:truncate()
        box.begin()
        for seq = 1, MOST_ANSWERS do
            box.space.store_answers:insert({7, 0, seq, 1, 'dead', 'why', 1, 'n1', NOW, 1, {0, 2ULL}, false})
        end
        box.commit()
        answers.note(page(7, MOST_ANSWERS + 1), refused(1), {}, NOW)
        test:is(box.space.store_answers:len(), MOST_ANSWERS, 'the bound holds')
        local found, kept = answers.of(7, 0, MOST_ANSWERS + 1, 1)
        test:is(#found, 0, 'this one is not kept')
        test:is(kept.rejected, nil, 'and does not seem to be: the page sums say more, so no answer is certain')
    end},
    {'25.7: a page keeps 40 different reasons, and more as one', function(test)
        test:plan(2)
        box.space.store_answers:truncate()
        for n = 1, 100 do
            local line = refused(n)
            line.answers[1][2] = 'reason ' .. n
            answers.note(page(8, 1), line, {}, NOW)
        end
        test:ok(of(8) <= 42, 'rows: ' .. of(8))
        local _, kept = answers.of(8, 0, 1, 1)
        test:is(kept.rejected, 100, 'nobody is forgotten')
    end},
    {'25.7: of 200,000 departures the oldest leave', function(test)
        test:plan(4)
        box.begin()
        for n = 1, MOST_DEPARTURES do
            box.space.store_departures:insert({n, 'digest ' .. n, 'ios', n, NOW, 'removed', 0})
        end
        box.commit()
        for n = 1, 300 do
            departures.note({MOST_DEPARTURES + n, 'ios', 'token ' .. n}, 'removed', 0, NOW)
        end
        test:ok(box.space.store_departures:len() <= MOST_DEPARTURES, 'no more than the bound')
        test:is(#departures.of(1), 0, 'the first has left')
        test:is(#departures.of(MOST_DEPARTURES), 1, 'the last before is there')
        test:is(departures.holder('ios', 'token 300'), MOST_DEPARTURES + 300, 'and the newest')
    end},
}

support.run('kept exceptions', laws)
