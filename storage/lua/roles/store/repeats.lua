-- The content guard: which texts go to which channels, when; so that no phone shows the same text twice. Asked and noted
-- in the transaction that fires a campaign: of two nodes that fire the same text at once, one does.

local repeats = {}

local KEEP = 7 * 86400 * 1000 -- ms; no newsroom may ask for longer
local EXPIRED_A_STEP = 200

local function expire(now)
    local old = {}
    for _, row in box.space.store_repeats.index.at:pairs() do
        if row.at + KEEP > now or #old >= EXPIRED_A_STEP then
            break
        end
        table.insert(old, {row.text, row.campaign})
    end
    for _, key in ipairs(old) do
        box.space.store_repeats:delete(key)
    end
end

-- Whether two lists of channels have one in common; an empty one is all channels.
local function meet(one, other)
    if #one == 0 or #other == 0 then
        return true
    end
    local known = {}
    for _, name in ipairs(one) do
        known[name] = true
    end
    for _, name in ipairs(other) do
        if known[name] then
            return true
        end
    end
    return false
end

-- Whether nobody can be in both audiences: one is a share, and the other is the rest of it.
local function apart(one, other)
    local a, b = (one.where or {}).share, (other.where or {}).share
    return a ~= nil and b ~= nil and a.salt == b.salt and a.share == b.share and (a.rest == true) ~= (b.rest == true)
end

-- Whether a campaign goes out, or went: not one that was taken back before anybody got it.
local function counts(c)
    return c ~= nil and (c.fired_at ~= 0 or c.state == 'scheduled')
end

local function when(c, now)
    return c.policy.start or now
end

-- Inside the caller's transaction. guard: {texts, window (ms), again}. Returns {campaign, at} of the campaign that has
-- the same text, on a channel of this one, less than `window` before or after this one; or nil.
function repeats.first(c, guard, now)
    for _, text in ipairs(guard.again and {} or guard.texts) do
        for _, row in box.space.store_repeats:pairs({text}) do
            local other = box.space.store_campaigns:get(row.campaign)
            if math.abs(tonumber(row.at) - tonumber(when(c, now))) < guard.window and row.campaign ~= c.id and counts(other)
                and meet(row.channels, c.audience.channels or {}) and not apart(other.audience, c.audience) then
                return {row.campaign, row.at}
            end
        end
    end
    return nil
end

-- Inside the caller's transaction: the campaign is fired.
function repeats.note(c, guard, now)
    expire(now)
    for _, text in ipairs(guard.texts) do
        box.space.store_repeats:replace({text, c.id, when(c, now), c.audience.channels or {}})
    end
end

return repeats
