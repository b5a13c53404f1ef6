-- The users of an instance. Nothing is written that is there already: a row that a leader wrote last and alone would keep
-- it from coming back as a replica (docs/adr/0045-the-store-elects-its-leader.md).

local users = {}

local function has(name, password)
    local row = box.space._user.index.name:get(name)
    local auth = row ~= nil and type(row.auth) == 'table' and row.auth or {}
    return auth['chap-sha1'] == box.schema.user.password(password)
end

-- Make the user if it is missing, with this password and this role.
function users.ensure(name, password, role)
    box.schema.user.create(name, {if_not_exists = true})
    if not has(name, password) then
        box.schema.user.passwd(name, password)
    end
    box.schema.user.grant(name, role, nil, nil, {if_not_exists = true})
end

return users
