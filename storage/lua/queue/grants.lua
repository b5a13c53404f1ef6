-- Rights for users who call tubes themselves. A function with `setuid` needs none of them.

local leases = require('queue.leases')

local grants = {}

local CALLS = {'put', 'take', 'touch', 'ack', 'release', 'peek', 'bury', 'kick', 'delete'}
local IF_NOT_YET = {if_not_exists = true}

local function grant_call(user, name)
    box.schema.func.create(name, IF_NOT_YET)
    box.schema.user.grant(user, 'execute', 'function', name, IF_NOT_YET)
end

--- opts: call (execute on the tube's functions by name), truncate, prefix (default "queue.tube").
function grants.tube(tube, user, opts)
    opts = opts or {}
    box.schema.user.grant(user, 'read', 'space', '_queue', IF_NOT_YET)
    box.schema.user.grant(user, 'read,write', 'space', tube.name, IF_NOT_YET)
    box.schema.user.grant(user, 'read,write', 'space', leases.NAME, IF_NOT_YET)
    local prefix = ('%s.%s:'):format(opts.prefix or 'queue.tube', tube.name)
    if opts.call then
        grant_call(user, 'queue.identify')
        grant_call(user, 'queue.statistics')
        for _, name in ipairs(CALLS) do
            grant_call(user, prefix .. name)
        end
    end
    if opts.truncate then
        grant_call(user, prefix .. 'truncate')
    end
end

return grants
