-- The dead ledger's row for each campaign and channel (store_deaths), and the targets kept and removed under it. All of
-- it runs inside the caller's transaction.
--
-- States: 'collecting' (not yet judged), 'deleting', 'asked' and 'stopped' (a person is asked; while 'stopped' the
-- workers pause the channel), 'confirmed' (a person has said that they are dead), 'forgetting' and then 'denied' (a
-- person has said that the key was wrong), 'few' (too few to judge), 'closed'.

local memory = require('roles.memory')
local campaigns = require('roles.store.campaigns')
local departures = require('roles.store.departures')
local feed = require('roles.store.feed')
local subscribers = require('roles.store.subscribers')
local rows = {}

rows.ENOUGH = 20 -- deliveries before anything is deleted; refusals before anybody is asked
rows.HOUR = 3600 * 1000
rows.DAY = 24 * rows.HOUR
rows.STEP = 100 -- targets that one call deletes: 1 to 3 ms of Tarantool's thread
rows.MAP = {__serialize = 'map'}

local HARDLY = 0.1 -- at least this share of a sound campaign's answers are deliveries
local REASONS = 20 -- different reasons for one channel of a campaign; more are counted as 'other'

function rows.row_of(campaign, channel, now)
    return box.space.store_deaths:get({campaign, channel}) or box.space.store_deaths:insert({
        campaign, channel, 'closed', now, 0, 0, 0, 0, 0, 0, setmetatable({}, rows.MAP), {}, 0, false,
    })
end

function rows.update(row, changes)
    return box.space.store_deaths:update({row.campaign, row.channel}, changes)
end

function rows.enter(row, state, now)
    return rows.update(row, {{'=', 'state', state}, {'=', 'since', now}})
end

function rows.over(c)
    return c == nil or campaigns.over(c)
end

function rows.delivered(row)
    local totals = box.space.store_totals:get({row.campaign, row.channel})
    return totals ~= nil and tonumber(totals.tallies.delivered or 0) or 0
end

function rows.refused(row)
    return tonumber(row.likely + row.doubtful)
end

-- Add up reasons, with a bounded number of names.
function rows.add_reasons(sums, more)
    local names = 0
    for _ in pairs(sums) do
        names = names + 1
    end
    for reason, n in pairs(more) do
        if sums[reason] == nil then
            if names >= REASONS then
                reason = 'other'
            else
                names = names + 1
            end
        end
        sums[reason] = (sums[reason] or 0) + n
    end
    return setmetatable(sums, rows.MAP)
end

-- Take reasons off the sums again.
function rows.less_reasons(sums, fewer)
    for reason, n in pairs(fewer) do
        local name = sums[reason] ~= nil and reason or 'other'
        local left = (sums[name] or 0) - n
        sums[name] = left > 0 and left or nil
    end
    return setmetatable(sums, rows.MAP)
end

-- The share of refused phones among those with an answer.
function rows.share(row)
    return rows.refused(row) / math.max(1, rows.delivered(row) + rows.refused(row))
end

-- Whether a campaign's refusals are so many that a person must be asked.
function rows.too_many(row, limit)
    return rows.share(row) > limit and rows.refused(row) >= rows.ENOUGH
end

-- Delete one target, if it was registered at or before `bound`. With `keep` (there is memory, asked once for all) its
-- row is kept for the undo, as a tuple: a Lua table would cost twice as much as all the rest. `gone`: a list, to which
-- it is added for the feed.
function rows.remove(campaign, channel, id, token, bound, now, keep, gone, reason)
    local row = subscribers.take_out(channel, id, token, bound)
    if row == nil then
        return 0
    end
    if keep then
        box.space.store_removed:replace({id, channel, campaign, now, row})
    end
    departures.note(row, 'dead', campaign, subscribers.now())
    table.insert(gone, {id, token, reason or 'unknown'})
    return 1
end

-- Remove up to STEP of a row's kept targets from the ledger, calling `f` for each first.
function rows.take_kept(row, f)
    local entries = box.space.store_kept:select({row.campaign, row.channel}, {limit = rows.STEP})
    for _, entry in ipairs(entries) do
        if f ~= nil then
            f(entry)
        end
        box.space.store_kept:delete({row.campaign, row.channel, entry.subscriber})
    end
    local left = #entries < rows.STEP and 0 or math.max(0, row.waiting - #entries)
    rows.update(row, {{'=', 'waiting', left}})
    return #entries
end

function rows.delete_kept(row, now)
    local removed, keep, gone = 0, not memory.full(), {}
    local taken = rows.take_kept(row, function(entry)
        removed = removed
            + rows.remove(row.campaign, row.channel, entry.subscriber, entry.token, entry.bound, now, keep, gone,
                          entry.reason)
    end)
    feed.add('dead', row.channel, row.campaign, gone, now)
    subscribers.left(row.channel, removed)
    rows.update(row, {{'+', 'removed', removed}})
    return taken
end

function rows.sound(good, bad)
    return good >= rows.ENOUGH and good >= HARDLY * (good + bad)
end

return rows
