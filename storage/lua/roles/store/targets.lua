-- Whose token it is. Most tokens are one word. A browser's subscription is an address and, behind `#`, the keys for what is
-- sent there: the address alone says which phone it is, with whatever keys, and also without any.

local targets = {}

local SCHEME = 'https://'

-- What says which phone it is: an address without its keys, or the whole token.
function targets.address(token)
    return token:match('^https://[^#]*') or token
end

-- The row whose token has the same address on a channel, or nil.
local function at_address(channel, token)
    if token:sub(1, #SCHEME) ~= SCHEME then
        return nil
    end
    local start = targets.address(token) .. '#'
    local row = box.space.store_subscribers.index.target:select({channel, start}, {iterator = 'GE', limit = 1})[1]
    if row ~= nil and row.channel == channel and row.token:sub(1, #start) == start then
        return row
    end
    return nil
end

-- The subscriber's row with this token, or nil.
function targets.get(channel, token)
    return box.space.store_subscribers.index.target:get({channel, token}) or at_address(channel, token)
end

local INSTALLATION = 22 -- characters of a Firebase installation id
local COLON = (':'):byte()

-- The other row of the same phone, or nil. Google's tokens become installation ids (kind `fid`), and an id is what such a
-- token has before its colon. So a row with the id and one with a token of it are one phone, whatever its app has said.
-- Two tokens of one installation are not told apart from two phones: nothing says which of them is alive.
function targets.sibling(channel, kind, token)
    local index = box.space.store_subscribers.index.target
    if kind == 'fid' then
        local start = token .. ':'
        local row = index:select({channel, start}, {iterator = 'GE', limit = 1})[1]
        if row ~= nil and row.channel == channel and row.token:sub(1, #start) == start then
            return row
        end
    elseif token:byte(INSTALLATION + 1) == COLON then
        local row = index:get({channel, token:sub(1, INSTALLATION)})
        if row ~= nil and row.kind == 'fid' then
            return row
        end
    end
    return nil
end

-- The beginning of a token, enough to compare it with one that somebody has. Of an address, which many begin with, the
-- host and the end. Never the keys.
function targets.short(token)
    local host, rest = token:match('^(https://[^/]*/)([^#]*)')
    return host == nil and token:sub(1, 6) or host .. '…' .. rest:sub(-6)
end

return targets
