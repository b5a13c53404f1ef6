-- Who has left the base, and whose token was replaced: so that somebody can be told later why a phone got nothing. A
-- token is kept as its digest alone: who is deleted is not remembered by name.

local digest = require('digest')
local memory = require('roles.memory')
local targets = require('roles.store.targets')
local departures = {}

local MOST = 200000 -- rows; then the oldest leave
local A_STEP = 2 -- old rows that leave with each new one

local function digest_of(channel, token)
    return digest.sha256(channel .. '\0' .. targets.address(token)):sub(1, 16)
end

-- Inside the caller's transaction. `row`: the subscriber's, under the token that leaves. `why`: 'dead' (`other`: the
-- campaign), 'removed', 'replaced' (the subscriber has another token), 'merged' (`other`: the subscriber of the same
-- phone that stays). `now`: ms by the store's clock.
function departures.note(row, why, other, now)
    if memory.full() then
        return -- a deletion must be possible all the same
    end
    local space = box.space.store_departures
    local last = space.index.number:max()
    if space:len() >= MOST then
        for _, old in ipairs(space:select({}, {limit = A_STEP})) do
            space:delete({old.number})
        end
    end
    space:insert({last == nil and 1 or last.number + 1, digest_of(row[2], row[3]), row[2], row[1], now, why, other})
end

-- Of a subscriber: {at, why, other, channel} each, in their order.
function departures.of(subscriber)
    local list = {}
    for _, row in ipairs(box.space.store_departures.index.subscriber:select({subscriber})) do
        table.insert(list, {row.at, row.why, row.other, row.channel})
    end
    return list
end

-- Who had a token last that is nobody's now: the subscriber and its channel, or nil.
function departures.holder(channel, token)
    local row = box.space.store_departures.index.digest:select(
        {digest_of(channel, token)}, {iterator = 'REQ', limit = 1})[1]
    if row == nil then
        return nil
    end
    return row.why == 'merged' and row.other or row.subscriber, row.at
end

return departures
