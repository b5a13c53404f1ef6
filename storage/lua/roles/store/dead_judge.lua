-- The verdict about a campaign's refused tokens: when the campaign ends, or an hour after its start and again at its
-- end. Also deletes rows that have expired.

local atomic = require('roles.atomic')
local rows = require('roles.store.dead_rows')
local dead_judge = {}

local FULL = 100000 -- targets kept of one campaign and channel: judged at once
local LONGEST = 30 * rows.DAY -- nothing is kept for longer, whatever its state
local EXPLAINED = 90 * rows.DAY -- `campaign verify` may need the restored ones for so long
local LIVES = {
    closed = rows.DAY, few = rows.DAY, asked = LONGEST, collecting = LONGEST, denied = LONGEST,
    stopped = LONGEST, confirmed = LONGEST, forgetting = LONGEST, deleting = LONGEST, -- of a channel that no node has now
}
local JUDGED = {'collecting', 'denied', 'stopped', 'confirmed', 'forgetting', 'deleting'}
local NEXT = {deleting = 'collecting', forgetting = 'denied'} -- once nothing is kept any more

-- The verdict by the whole ring's answers for a campaign and channel: 'deleting', 'asked' or 'few'.
local function verdict(row, limit)
    if rows.too_many(row, limit) then
        return 'asked'
    end
    return rows.share(row) <= limit and rows.delivered(row) >= rows.ENOUGH and 'deleting' or 'few'
end

-- One step: delete expired rows. Returns whether there may be more.
local function sweep(now)
    local n = 0
    local removed = box.space.store_removed.index.removed_at
    for _, gone in ipairs(removed:select({math.max(0, now - rows.DAY)}, {iterator = 'LT', limit = rows.STEP})) do
        box.space.store_removed:delete(gone.subscriber)
        local row = box.space.store_deaths:get({gone.campaign, gone.channel})
        if row ~= nil then
            rows.update(row, {{'=', 'removed', math.max(0, tonumber(row.removed) - 1)}})
        end
        n = n + 1
    end
    local past = box.space.store_restored.index.restored_at
    for _, back in ipairs(past:select({math.max(0, now - EXPLAINED)}, {iterator = 'LT', limit = rows.STEP - n})) do
        box.space.store_restored:delete({back.subscriber, back.removed_at})
        n = n + 1
    end
    if n > 0 then
        return n == rows.STEP
    end
    for state, age in pairs(LIVES) do
        local row = box.space.store_deaths.index.state:select({state}, {limit = 1})[1]
        if row ~= nil and row.since + age < now then
            if row.waiting > 0 then
                rows.take_kept(row)
            elseif box.space.store_removed.index.campaign:select({row.campaign, row.channel}, {limit = 1})[1] == nil then
                box.space.store_deaths:delete({row.campaign, row.channel})
            else -- some of its targets can still be restored: look again in an hour
                rows.enter(row, 'closed', now - rows.DAY + rows.HOUR)
            end
            return true
        end
    end
    return false
end

-- One row, one step. Returns whether another step may follow at once, and the verdict if there is a new one.
local function judge(row, limit, now)
    local c = box.space.store_campaigns:get(row.campaign)
    local ended = rows.over(c)
    if row.waiting > 0 and (row.state == 'deleting' or row.state == 'confirmed') then
        return rows.delete_kept(row, now) > 0
    elseif row.waiting > 0 and row.state == 'forgetting' then
        return rows.take_kept(row) > 0
    elseif row.state == 'stopped' then
        if rows.sound(rows.delivered(row), rows.refused(row) + tonumber(row.postponed)) then
            return true, rows.enter(row, 'collecting', now).state
        end
        return false, ended and rows.enter(row, 'asked', now).state or nil
    elseif row.waiting == 0 then
        local rest = ended and 'closed' or NEXT[row.state]
        if rest ~= nil then
            rows.enter(row, rest, now)
        end
        return false
    end
    local hour = not row.early and c ~= nil and c.fired_at > 0 and c.fired_at + rows.HOUR <= now
    if not (ended or hour or row.waiting >= FULL) then
        return false
    end
    if hour then
        row = rows.update(row, {{'=', 'early', true}})
    end
    local word = verdict(row, limit)
    if word == 'few' and not ended then
        return false
    end
    rows.enter(rows.update(row, {{'=', 'limit', limit}}), word, now)
    return word == 'deleting', word
end

-- limits: channel -> the share above which a person is asked, as this node's configuration says. One call is one small
-- step; any node may ask at any time, and of two only one takes it. Returns whether there is more to do at once, and
-- the new verdicts: {campaign, channel, verdict, refused, delivered} each.
function dead_judge.dead_judge(limits, now)
    local verdicts = {}
    for _, state in ipairs(JUDGED) do
        for _, known in ipairs(box.space.store_deaths.index.state:select({state}, {limit = 1000})) do
            local limit = limits[known.channel]
            if limit ~= nil then
                local more, word = atomic(function()
                    local row = box.space.store_deaths:get({known.campaign, known.channel})
                    if row == nil or row.state ~= state then
                        return false
                    end
                    return judge(row, limit, now)
                end)
                if word ~= nil then
                    table.insert(verdicts, {
                        known.campaign, known.channel, word, rows.refused(known), rows.delivered(known),
                    })
                end
                if more then
                    return true, verdicts
                end
            end
        end
    end
    return atomic(sweep, now), verdicts
end

return dead_judge
