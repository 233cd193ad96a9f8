// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.activity.result.contract;

import android.net.Uri;
import java.util.List;

public final class ActivityResultContracts {
    public static class GetMultipleContents extends ActivityResultContract<String, List<Uri>> {
    }

    public static final class RequestPermission extends ActivityResultContract<String, Boolean> {
    }
}
