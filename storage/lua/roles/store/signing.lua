-- The key that signs certificates of campaigns. It is made once, by the node that comes first, and never leaves the nodes.

local atomic = require('roles.atomic')
local signing = {}

local NAME = 'certificates'

-- {the key in base64, since when (ms)}: the one that was proposed first stays.
function signing.signing_key(proposed, now)
    return atomic(function()
        local keys = box.space.store_signing
        local key = keys:get({NAME})
        if key == nil then
            key = keys:insert({NAME, proposed, now})
        else
            -- written, though nothing changes: so the answer waits until the first one is on disk and with the quorum
            keys:update({NAME}, {{'=', 'created_at', key.created_at}})
        end
        return {key.private, key.created_at}
    end)
end

return signing
